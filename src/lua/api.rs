//! How a table of functions becomes the globals of a Lua state: registration, refusal in the wrong
//! role, error prefixes, completion and `help()` all come from the one entry of each function. The
//! tables themselves are in the modules beside this one.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use rlua::{Function, Lua, MultiValue, RegistryKey, Table, Value};

use crate::config::Config;
use crate::error::{Error, Result};
use crate::lua::policy::{Policy, Stage};
use crate::lua::store::Session;
use crate::shared::Shared;

/// What a Lua state is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Runs the configuration first, on the main thread: configuring functions take effect.
    Config,
    /// The same state after the start: runs what is typed at the console.
    Console,
    /// A state of a pool thread: runs reports, custom endpoints and background functions.
    Worker,
    /// Runs the configuration to learn where a daemon's console is, and with which key.
    Client,
}

/// What a state runs at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The configuration. Every state runs the same text, so a call in the wrong role is normal.
    File,
    /// A console command that every worker runs too: the same.
    Command,
    /// A function of the policy, or a command in the console's own state.
    Call,
}

/// The file alone, for functions that configure.
pub const FILE: &[Role] = &[Role::Config];

/// The console alone, for functions that answer it.
pub const CONSOLE: &[Role] = &[Role::Console];

/// Every role, for functions that work in each.
pub const ANYWHERE: &[Role] = &[Role::Config, Role::Console, Role::Worker, Role::Client];

/// What the functions of one Lua state work on.
pub struct Context {
    pub shared: Arc<Shared>,
    pub role: Cell<Role>,
    /// What the state runs.
    pub phase: Cell<Phase>,
    /// What the configuration has asked for so far.
    pub config: RefCell<Config>,
    /// What `print` has said since the last console command began.
    pub printed: RefCell<String>,
    /// The same of functions that answer with text, for those whose value the command drops.
    pub answered: RefCell<String>,
    /// Whether `shutdown()` was called.
    pub stops: Cell<bool>,
    /// The status and the place of an `os.exit` that the configuration has called.
    pub exit: Cell<Option<(u8, String)>>,
    /// What the state asks the report store with.
    pub session: Rc<Session>,
    /// The policy that runs.
    pub stage: Rc<Stage>,
    /// The policies that it uses, in their order.
    pub policies: RefCell<Vec<Policy>>,
}

/// A function that Lua can call.
pub struct Func {
    pub name: &'static str,
    pub args: &'static [&'static str],
    pub roles: &'static [Role],
    /// One sentence, the first of the function's entry in the manual page.
    pub help: &'static str,
    pub call: for<'lua> fn(&'lua Lua, &Context, MultiValue<'lua>) -> Result<MultiValue<'lua>>,
}

impl Func {
    /// The name with its arguments, as the manual prints it.
    pub fn signature(&self) -> String {
        format!("{}({})", self.name, self.args.join(", "))
    }
}

/// Declares a [`Func`]; its name, argument names and argument types are written once.
macro_rules! func {
    ($roles:expr, $name:ident($($arg:ident: $ty:ty),*), $help:literal, |$lua:ident, $cx:ident| $body:expr) => {
        $crate::lua::api::Func {
            name: stringify!($name),
            args: &[$(stringify!($arg)),*],
            roles: $roles,
            help: $help,
            call: |$lua, $cx, args| {
                let mut args = $crate::lua::argument::Arguments::new($lua, args);
                $(let $arg: $ty = args.next(stringify!($arg))?;)*
                args.end()?;
                let result: $crate::error::Result<_> = $body;
                Ok(rlua::IntoLuaMulti::into_lua_multi(result?, $lua)?)
            },
        }
    };
}
pub(super) use func;

/// Every function, table by table.
pub fn funcs() -> impl Iterator<Item = &'static Func> {
    super::TABLES.iter().flat_map(|table| table.iter())
}

/// Gives `lua` every function of the tables, as the context's role may use it.
pub fn install(lua: &Lua, context: &Rc<Context>) -> rlua::Result<()> {
    let (globals, face) = (lua.globals(), prelude(lua, "face")?);
    for func in funcs() {
        let context = context.clone();
        let call = lua.create_function(move |lua, args: MultiValue| {
            let result = if func.roles.contains(&context.role.get()) {
                (func.call)(lua, &context, args).inspect(|values| keep_answer(&context, values))
            } else {
                refuse(func, &context)
            };
            answer(lua, || func.signature(), result)
        })?;
        globals.set(func.name, face.call::<_, Function>(call)?)?;
    }
    Ok(())
}

/// Keeps the text that a function of the console answers with.
fn keep_answer(context: &Context, values: &MultiValue) {
    if context.role.get() == Role::Console
        && let Some(Value::String(text)) = values.iter().next()
    {
        context.answered.borrow_mut().push_str(&text.to_string_lossy());
    }
}

/// What the prelude's `check` takes: true and the results, or false and the message.
pub fn answer<'lua>(
    lua: &'lua Lua,
    signature: impl FnOnce() -> String,
    result: Result<MultiValue<'lua>>,
) -> rlua::Result<MultiValue<'lua>> {
    match result {
        Ok(mut values) => {
            values.push_front(Value::Boolean(true));
            Ok(values)
        }
        Err(e) => {
            let message = lua.create_string(format!("{}: {e}", signature()))?;
            Ok(MultiValue::from_vec(vec![Value::Boolean(false), Value::String(message)]))
        }
    }
}

/// A function of the prelude.
pub fn prelude<'lua>(lua: &'lua Lua, name: &str) -> rlua::Result<Function<'lua>> {
    let key = lua.app_data_ref::<RegistryKey>();
    let key = key.ok_or_else(|| rlua::Error::RuntimeError("no prelude in this state".into()))?;
    lua.registry_value::<Table>(&key)?.get(name)
}

/// Where in the configuration a function of the tables was called, `file:line`.
pub fn place(lua: &Lua) -> String {
    // Level 0 is the function, 1 its face in the prelude.
    let Some(caller) = lua.inspect_stack(2) else { return String::new() };
    let source = caller.source().short_src.unwrap_or_default().into_owned();
    format!("{source}:{}", caller.curr_line())
}

/// A call out of place is an operator's mistake on the console. Elsewhere it is normal, because
/// every state runs the whole configuration; from a report it is worth one line in the log.
fn refuse<'lua>(func: &Func, context: &Context) -> Result<MultiValue<'lua>> {
    match context.role.get() {
        Role::Console => return Err(Error::Refused("not on the console".into())),
        Role::Worker if context.phase.get() == Phase::Call && context.shared.is_news(func.name) => {
            log::warn!("{} does nothing outside the configuration", func.signature());
        }
        Role::Config | Role::Worker | Role::Client => {}
    }
    Ok(MultiValue::new())
}

/// The functions of the console that begin with `prefix`, those without arguments closed.
pub fn complete(prefix: &str) -> Vec<String> {
    let mut names: Vec<String> = funcs()
        .filter(|func| func.roles.contains(&Role::Console) && func.name.starts_with(prefix))
        .map(|func| if func.args.is_empty() { format!("{}()", func.name) } else { format!("{}(", func.name) })
        .collect();
    names.sort();
    names
}

/// What `help(name)` says: a line for each function of the console, or for the one named.
pub fn help(name: Option<&str>) -> Result<String> {
    let mut lines: Vec<String> = funcs()
        .filter(|func| name.map_or(func.roles.contains(&Role::Console), |name| func.name == name))
        .map(|func| format!("{}\n    {}\n", func.signature(), func.help))
        .collect();
    lines.sort();
    match name {
        Some(name) if lines.is_empty() => Err(Error::Unknown { what: "function", name: name.into() }),
        _ => Ok(lines.concat()),
    }
}

/// The function of ours that `line` is a lone call of; after `return`, too.
fn called(line: &str) -> Option<&'static Func> {
    let line = line.trim();
    let line = line.strip_prefix("return ").unwrap_or(line).trim_start();
    let (name, rest) = line.split_once('(').unwrap_or((line, ")"));
    let is_lone = rest.ends_with(')') && !rest.contains('(');
    let func = funcs().find(|func| is_lone && func.name == name.trim())?;
    (line.contains('(') || is_bare_name(line)).then_some(func)
}

/// Whether `line` is a lone call of a function of the tables.
pub fn is_call_of_ours(line: &str) -> bool {
    called(line).is_some()
}

/// Whether `line` is the name of a console function that takes no arguments, which may be called
/// without parentheses.
pub fn is_bare_name(line: &str) -> bool {
    let is_meant = |func: &Func| func.roles.contains(&Role::Console) && func.args.is_empty();
    funcs().any(|func| is_meant(func) && func.name == line.trim())
}

/// Functions whose arguments hold passwords and keys.
const SECRETIVE: [&str; 7] = [
    "addAlertSink",
    "addCustomWebHook",
    "addWforceBlocklist",
    "newReportStore",
    "setKey",
    "setWebserverPassword",
    "webserver",
];

/// Whether `line` may hold a password or a key. One that makes a table of them can't be told.
pub fn takes_secret(line: &str) -> bool {
    SECRETIVE.iter().any(|name| line.contains(name))
}

/// Whether `line` is a lone call of a function that does nothing in a worker, and so need not
/// reach the workers.
pub fn is_for_console_only(line: &str) -> bool {
    called(line).is_some_and(|func| !func.roles.contains(&Role::Worker))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lua::{lookup, method, objects, store};
    use crate::manual;
    use std::collections::HashSet;

    #[test]
    fn names_are_unique_and_each_has_one_sentence_of_help() {
        let mut names = HashSet::new();
        for func in funcs() {
            assert!(names.insert(func.name), "{} twice", func.name);
            assert!(
                func.help.ends_with('.') && !func.help.trim_end_matches('.').contains(". "),
                "{}",
                func.name
            );
            assert!(!func.roles.is_empty(), "{}", func.name);
        }
        assert!(SECRETIVE.iter().all(|name| names.contains(name)));
    }

    #[test]
    fn the_manual_has_every_function_and_method_and_no_other() {
        let entry = |name: &str, args: &[&str], help: &str| {
            let words: Vec<&str> = [name].into_iter().chain(args.iter().copied()).collect();
            (format!("Fn {}", words.join(" ")), help.to_owned())
        };
        let functions = funcs().map(|func| entry(func.name, func.args, func.help));
        let methods = [
            method::describe("ComboAddress", objects::COMBO_ADDRESS),
            method::describe("Netmask", objects::NETMASK),
            method::describe("NetmaskGroup", objects::NETMASK_GROUP),
            method::describe("GeoIP2DB", lookup::GEOIP2DB),
            method::describe("ReportStore", store::REPORT_STORE),
        ];
        let methods = methods.concat().into_iter().map(|(name, args, help)| entry(&name, args, help));
        manual::check("trackalert.conf.5", "Fn", functions.chain(methods));
    }

    #[test]
    fn completion_closes_what_takes_no_arguments() {
        assert_eq!(complete("showA"), ["showACL()", "showAlerts("]);
        assert_eq!(complete("addA"), ["addACL("]);
        assert!(complete("setNumWorkerThreads").is_empty(), "not on the console");
    }

    #[test]
    fn help_names_a_function_or_says_that_there_is_none() {
        assert!(help(Some("addACL")).unwrap().starts_with("addACL(netmask)\n    "));
        assert!(help(None).unwrap().contains("showVersion()"));
        assert_eq!(help(Some("nosuch")).unwrap_err().to_string(), "no function named \"nosuch\"");
    }

    #[test]
    fn a_lone_console_call_stays_on_the_console() {
        for (line, expected) in [
            ("stats()", true),
            (" showACL() ", true),
            ("help('stats')", true),
            ("setReport(f)", false),
            ("stats() x = 5", false),
            ("x = stats()", false),
            ("print(stats())", false),
            ("stats", true),
            ("return stats()", true),
            ("return stats", true),
            ("setReport", false),
            ("returnstats()", false),
        ] {
            assert_eq!(is_for_console_only(line), expected, "{line}");
        }
    }
}
