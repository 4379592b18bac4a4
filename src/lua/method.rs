//! How a table of methods becomes the face of an object in Lua: as functions are registered from
//! their tables, each with the same errors.

use rlua::{Function, Lua, MetaMethod, MultiValue, UserData, UserDataFields, Value};

use crate::error::{Error, Result};
use crate::lua::api::{answer, prelude};

/// A method of an object.
pub struct Method<T: 'static> {
    pub name: &'static str,
    pub args: &'static [&'static str],
    /// One sentence, the first of the method's entry in the manual page.
    #[cfg(test)]
    pub help: &'static str,
    pub call: for<'lua> fn(&'lua Lua, &mut T, MultiValue<'lua>) -> Result<MultiValue<'lua>>,
}

/// Declares a [`Method`], as `func!` does a function.
macro_rules! method {
    ($name:ident($($arg:ident: $ty:ty),*), $help:literal, |$this:ident| $body:expr) => {
        $crate::lua::method::Method {
            name: stringify!($name),
            args: &[$(stringify!($arg)),*],
            #[cfg(test)]
            help: $help,
            call: |lua, $this, args| {
                let mut args = $crate::lua::argument::Arguments::new(lua, args);
                $(let $arg: $ty = args.next(stringify!($arg))?;)*
                args.end()?;
                let result: $crate::error::Result<_> = $body;
                Ok(rlua::IntoLuaMulti::into_lua_multi(result?, lua)?)
            },
        }
    };
}
pub(super) use method;

/// Gives a type the methods of its table, with the same face as functions have: what goes wrong is a
/// string with the place of the call.
pub fn add_methods<'lua, T: UserData + 'static, F: UserDataFields<'lua, T>>(
    object: &'static str,
    table: &'static [Method<T>],
    fields: &mut F,
) {
    fields.add_meta_field_with(MetaMethod::Index, move |lua| {
        let (index, face) = (lua.create_table()?, prelude(lua, "face")?);
        for method in table {
            let call = lua.create_function(move |lua, mut args: MultiValue| {
                let this = args.pop_front();
                let signature = || format!("{object}:{}({})", method.name, method.args.join(", "));
                answer(lua, signature, call(lua, object, method, this, args))
            })?;
            index.set(method.name, face.call::<_, Function>(call)?)?;
        }
        Ok(index)
    });
}

/// Calls a method on what should be its object.
fn call<'lua, T: 'static>(
    lua: &'lua Lua,
    object: &str,
    method: &Method<T>,
    this: Option<Value<'lua>>,
    args: MultiValue<'lua>,
) -> Result<MultiValue<'lua>> {
    match this {
        Some(Value::UserData(data)) if data.is::<T>() => {
            (method.call)(lua, &mut *data.borrow_mut::<T>()?, args)
        }
        _ => Err(Error::Refused(format!("not called on a {object}, with a colon"))),
    }
}

/// Every method of a table as `Object:name`, its arguments and its help: for the manual page.
#[cfg(test)]
pub fn describe<T>(
    object: &str,
    table: &'static [Method<T>],
) -> Vec<(String, &'static [&'static str], &'static str)> {
    table.iter().map(|method| (format!("{object}:{}", method.name), method.args, method.help)).collect()
}
