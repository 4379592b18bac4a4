//! A Lua state: made with the functions of its role, run with the configuration, then called for
//! reports, custom endpoints or console commands. A state belongs to one thread; which thread runs
//! what is up to `worker` and `daemon`.

mod alert;
mod api;
mod argument;
mod command;
mod config;
mod console;
mod exit;
mod failure;
mod fields;
mod interrupt;
mod json;
mod listener;
mod log;
mod lookup;
mod method;
mod objects;
mod options;
mod policy;
mod schedule;
mod script;
mod store;
mod webhook;
mod wforce;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use rlua::{ChunkMode, Function, Lua, MultiValue, RegistryKey, Table, Value};

use crate::config::Config;
use crate::error::{Error, Result};
use crate::login::{Attributes, LoginTuple};
use crate::shared::Shared;
use crate::store::Known;

use api::Phase;
pub use api::{Role, complete, is_for_console_only, takes_secret};
pub use failure::Failure;
pub use interrupt::{hurry, install as install_interrupt};
pub use policy::SCHEDULED;
pub use script::Script;

/// Every table of functions.
static TABLES: &[&[api::Func]] = &[
    alert::FUNCS,
    config::FUNCS,
    console::FUNCS,
    listener::FUNCS,
    log::FUNCS,
    lookup::FUNCS,
    objects::FUNCS,
    policy::FUNCS,
    schedule::FUNCS,
    store::FUNCS,
    webhook::FUNCS,
    wforce::FUNCS,
];

/// A Lua state with the configuration's functions.
pub struct State {
    lua: Lua,
    context: Rc<api::Context>,
    report: RegistryKey,
    endpoint: RegistryKey,
    background: RegistryKey,
    interruptible: interrupt::Interruptible,
    /// How many of the console's commands it has run.
    seen: Cell<usize>,
    /// KiB that it may have.
    memory: Cell<usize>,
}

impl State {
    /// Makes a state for `role` and runs the configuration in it.
    pub fn new(shared: Arc<Shared>, role: Role, script: Option<&Script>) -> Result<State> {
        let state = State::make(shared, role)?;
        script.map_or(Ok(()), |script| state.load(script))?;
        Ok(state)
    }

    /// What a configuration says of the console, and the error that ended it, if one did.
    pub fn read_for_client(script: &Script) -> Result<(Config, Option<Error>)> {
        let state = State::make(Arc::<Shared>::default(), Role::Client)?;
        let error = state.load(script).err();
        Ok((state.config(), error))
    }

    fn make(shared: Arc<Shared>, role: Role) -> Result<State> {
        let context = Rc::new(api::Context {
            session: Rc::new(store::Session::new(shared.clock.clone())),
            shared,
            role: Cell::new(role),
            phase: Cell::new(Phase::File),
            config: RefCell::new(Config::default()),
            printed: RefCell::new(String::new()),
            answered: RefCell::new(String::new()),
            stops: Cell::new(false),
            exit: Cell::new(None),
            stage: Rc::default(),
            policies: RefCell::default(),
        });
        let lua = new_lua();
        // A policy gets it with `require "ffi"`, as in LuaJIT itself and the original.
        lua.globals().raw_remove("ffi")?;
        let prelude: Table = lua.load(include_str!("prelude.lua")).set_name("=trackalert").eval()?;
        let keep = |name| lua.create_registry_value(prelude.get::<_, Function>(name)?);
        let (report, endpoint, background) = (keep("report")?, keep("endpoint")?, keep("background")?);
        prelude
            .get::<_, Function>("use_fields")?
            .call::<_, ()>((fields::of_login(&lua)?, fields::of_attributes(&lua)?))?;
        lua.set_app_data(lua.create_registry_value(prelude)?);
        api::install(&lua, &context)?;
        exit::install(&lua, &context)?;
        api::prelude(&lua, "watch_memory")?.call::<_, ()>(interrupt::exhaustion(&lua)?)?;
        if role != Role::Worker {
            // Machine code can't be interrupted, and nothing that this state runs must be fast.
            lua.load("jit.off()").exec()?;
        }
        let interruptible = interrupt::Interruptible::new(&lua)?;
        if role == Role::Client {
            // What the configuration prints is no part of a command's answer.
            api::prelude(&lua, "print_to_stderr")?.call::<_, ()>(())?;
        }
        let (seen, memory) = (Cell::new(0), Cell::new(usize::MAX));
        Ok(State { lua, context, report, endpoint, background, interruptible, seen, memory })
    }

    fn load(&self, script: &Script) -> Result<()> {
        script.set_path(&self.lua)?;
        let _running = script.limit().map(|limit| self.interruptible.run(&self.lua, Instant::now() + limit));
        let chunk = self.lua.load(script.text.as_slice()).set_name(format!("@{}", script.name()));
        let result = chunk.set_mode(ChunkMode::Text).exec();
        if let Some((status, place)) = self.context.exit.take() {
            return Err(Error::Exit(status, place));
        }
        self.context.phase.set(Phase::Call);
        Ok(result?)
    }

    /// From now on, what the state runs fails once it has this many KiB. A configuration that keeps
    /// more to begin with is an error.
    pub fn limit_memory(&self, kib: usize) -> Result<()> {
        self.memory.set(kib);
        if self.is_exhausted() {
            return Err(Error::Config("it keeps more memory than setLuaMemoryLimit allows".into()));
        }
        Ok(api::prelude(&self.lua, "limit_memory")?.call(kib)?)
    }

    /// Whether the call before has used up the memory, or has left more than the limit behind.
    pub fn is_exhausted(&self) -> bool {
        let is_over = || self.lua.used_memory() >> 10 > self.memory.get();
        interrupt::was_exhausted() || is_over() && (self.lua.gc_collect().is_err() || is_over())
    }

    /// Runs a further line of the configuration.
    pub fn add(&self, line: &str) -> Result<()> {
        self.context.phase.set(Phase::File);
        let result = self.lua.load(line).set_name("=command line").exec();
        self.context.phase.set(Phase::Call);
        Ok(result?)
    }

    /// Shows a report of the past to the policies, and calls nothing else.
    pub fn replay(&self, login: &LoginTuple, known: &Known) -> Result<()> {
        self.context.session.begin(login.t, known.before.clone());
        let result = self.tuple(login, known).and_then(|tuple| self.judge(&tuple, known));
        self.context.session.end();
        result
    }

    /// What the configuration asked for.
    pub fn config(&self) -> Config {
        self.context.config.borrow().clone()
    }

    /// Whether `shutdown()` was called.
    pub fn stops(&self) -> bool {
        self.context.stops.get()
    }

    /// Runs the policies and calls the report function, if there is one; after `deadline` they may be
    /// interrupted. `known` is what the store knows of the report, if there is a store.
    pub fn report(&self, login: &LoginTuple, known: Option<&Known>, deadline: Instant) -> Result<()> {
        let has_report = self.context.config.borrow().has_report;
        if !has_report && self.context.policies.borrow().is_empty() {
            return Ok(());
        }
        let _running = self.interruptible.run(&self.lua, deadline);
        self.context.session.begin(login.t, known.and_then(|known| known.before.clone()));
        let result = match known {
            Some(known) => self.report_known(login, known, has_report),
            None => self.report_plain(login),
        };
        self.context.session.end();
        result
    }

    fn report_plain(&self, login: &LoginTuple) -> Result<()> {
        let function: Function = self.lua.registry_value(&self.report)?;
        Ok(function.call((fields::pointer(login), objects::ComboAddress(login.remote)))?)
    }

    /// The same with a LoginTuple that says where it is from, and what policies make of it.
    fn report_known(&self, login: &LoginTuple, known: &Known, has_report: bool) -> Result<()> {
        let tuple = self.tuple(login, known)?;
        self.judge(&tuple, known)?;
        if !has_report {
            return Ok(());
        }
        Ok(api::prelude(&self.lua, "run")?.call(tuple)?)
    }

    /// A report as Lua has it, with what the store has made of it.
    fn tuple(&self, login: &LoginTuple, known: &Known) -> Result<Table<'_>> {
        let place = fields::place(&self.lua, &known.record)?;
        let remote = objects::ComboAddress(login.remote);
        Ok(api::prelude(&self.lua, "login_at")?.call((fields::pointer(login), remote, place))?)
    }

    /// Calls the function of a custom endpoint; after `deadline` it may be interrupted.
    pub fn endpoint(
        &self,
        name: &str,
        attrs: &Attributes,
        deadline: Instant,
    ) -> Result<(bool, Vec<(String, String)>)> {
        let _running = self.interruptible.run(&self.lua, deadline);
        let function: Function = self.lua.registry_value(&self.endpoint)?;
        let mut results: MultiValue = function.call((name, fields::pointer(attrs)))?;
        let (success, answer) = (results.pop_front(), results.pop_front());
        let Some(Value::Boolean(success)) = success else {
            return Err(Error::Refused("the function must return a boolean and a table".into()));
        };
        let Some(Value::Table(answer)) = answer else {
            return Err(Error::Refused("the function must return a table after the boolean".into()));
        };
        let mut answer = argument::text_pairs(&self.lua, answer)?;
        answer.sort();
        Ok((success, answer))
    }

    /// Runs the policy of a background function at the time that the clock was set to.
    pub fn run_policy_now(&self, name: &str) -> Result<()> {
        self.run_scheduled(name).map(drop)
    }

    /// Calls a background function; after `deadline` it may be interrupted.
    pub fn background(&self, name: &str, deadline: Instant) -> Result<()> {
        let _running = self.interruptible.run(&self.lua, deadline);
        if self.run_scheduled(name)? {
            return Ok(());
        }
        let function: Function = self.lua.registry_value(&self.background)?;
        Ok(function.call(name)?)
    }
}

/// The versions of the language and of its implementation, as these say them.
pub fn version() -> Result<String> {
    Ok(new_lua().load("return _VERSION .. ', ' .. jit.version").eval()?)
}

#[allow(unsafe_code)]
fn new_lua() -> Lua {
    // SAFETY: policies are the administrator's own code and may load C modules, `ffi` and `debug`;
    // what those do is as unsafe as any library that the administrator installs.
    unsafe { Lua::unsafe_new() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manual;
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::time::Duration;

    fn state(role: Role, config: &str) -> Result<State> {
        State::new(Arc::<Shared>::default(), role, Some(&Script::of(config)))
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(60)
    }

    #[test]
    fn the_example_of_the_manual_works() {
        let example = manual::example("trackalert.conf.5");
        assert_eq!(state(Role::Config, &example).unwrap().config().report_threads, 1);
        let worker = state(Role::Worker, &example).unwrap();
        let mut login = LoginTuple::default();
        login.remote = "198.51.100.1".parse().unwrap();
        for _ in 0..20 {
            worker.report(&login, None, soon()).unwrap();
        }
        let attrs = Attributes::from_json(br#"{"attrs":{"address":"192.0.2.66"}}"#).unwrap();
        let answer = worker.endpoint("isOurs", &attrs, soon()).unwrap();
        assert_eq!(answer, (true, vec![("ours".into(), "false".into())]));
    }

    #[test]
    fn an_error_names_the_place_of_the_call() {
        for (config, message) in [
            ("\n\naddACL('foo')", "test.conf:3: addACL(netmask): \"foo\" is not a netmask"),
            (
                "local g = newNetmaskGroup()\ng:addMask('foo')",
                "test.conf:2: NetmaskGroup:addMask(netmask): \"foo\" is not a netmask",
            ),
            (
                "newNetmaskFromCA('x', 3)",
                "test.conf:1: newNetmaskFromCA(address, bits): address: ComboAddress expected, got string",
            ),
            ("x = = 1", "test.conf:1: unexpected symbol near '='"),
            ("error('plain', 0)", "plain"),
        ] {
            let error = state(Role::Config, config).err().unwrap();
            assert_eq!(Failure::new(&error).message, message, "{config}");
        }
    }

    #[test]
    fn a_traceback_is_one_line_without_our_own_frames() {
        let state =
            state(Role::Worker, "local function f() error('x') end\nsetReport(function() f() end)").unwrap();
        let failure = Failure::new(&state.report(&LoginTuple::default(), None, soon()).unwrap_err());
        assert_eq!(failure.message, "test.conf:1: x");
        let expected = "test.conf:1: in function 'f' < test.conf:2: in function 'report'";
        assert_eq!(failure.traceback, expected);
    }

    #[test]
    fn a_panic_in_a_function_of_ours_reaches_the_caller() {
        let state = state(Role::Worker, "setReport(function() boom() end)").unwrap();
        let boom = state.lua.create_function(|_, ()| -> rlua::Result<()> { panic!("on purpose") }).unwrap();
        state.lua.globals().set("boom", boom).unwrap();
        let report = AssertUnwindSafe(|| state.report(&LoginTuple::default(), None, soon()));
        assert!(catch_unwind(report).is_err());
    }

    #[test]
    fn a_report_is_a_table_like_any_other() {
        let config = "setReport(function(lt)
            local names = {}
            for name in pairs(lt) do names[#names + 1] = name end
            table.sort(names)
            seen = table.concat(names, ' ')
            lt.extra = tostring(lt.remote) .. (lt.attrs.none or 'none')
            extra = lt.extra
        end)";
        let state = state(Role::Worker, config).unwrap();
        state.report(&LoginTuple::default(), None, soon()).unwrap();
        let seen: String = state.lua.globals().get("seen").unwrap();
        assert_eq!(
            seen,
            "attrs attrs_mv device_attrs device_id fail_type login policy_reject protocol pwhash remote session_id \
             success t tls"
        );
        assert_eq!(state.lua.globals().get::<_, String>("extra").unwrap(), "0.0.0.0none");
    }

    #[test]
    fn what_pcall_catches_is_a_string() {
        let config = "local group, seen_ = newNetmaskGroup(), {}
            for i, call in ipairs({
                function() group:addMask('foo') end,
                function() group.addMask('foo') end,
                function() newCA('192.0.2.1').tostring(group) end,
                function() addACL('foo') end,
            }) do
                local _, message = pcall(call)
                seen_[i] = message
            end
            seen = table.concat(seen_, '\\n')";
        let state = state(Role::Config, config).unwrap();
        let seen: String = state.lua.globals().get("seen").unwrap();
        assert_eq!(
            seen.lines().collect::<Vec<_>>(),
            [
                "test.conf:3: NetmaskGroup:addMask(netmask): \"foo\" is not a netmask",
                "test.conf:4: NetmaskGroup:addMask(netmask): not called on a NetmaskGroup, with a colon",
                "test.conf:5: ComboAddress:tostring(): not called on a ComboAddress, with a colon",
                "test.conf:6: addACL(netmask): \"foo\" is not a netmask",
            ]
        );
    }

    #[test]
    fn addresses_compare_and_print() {
        let config = "local a, b = newCA('192.0.2.9:80'), newCA('192.0.2.10')
            local results = {
                a == newCA('192.0.2.9'), a < b, a <= b, 'at ' .. a, a .. '!', a .. b, tostring(a), a:tostringWithPort(),
            }
            for i, result in ipairs(results) do results[i] = tostring(result) end
            seen = table.concat(results, ' ')";
        let state = state(Role::Config, config).unwrap();
        let seen: String = state.lua.globals().get("seen").unwrap();
        let expected = "true true true at 192.0.2.9 192.0.2.9! 192.0.2.9192.0.2.10 192.0.2.9 192.0.2.9:80";
        assert_eq!(seen, expected);
    }

    #[test]
    fn a_command_answers_as_the_console_does() {
        let state = state(Role::Config, "t = { b = 2, a = 'x' }").unwrap();
        state.become_console().unwrap();
        for (command, expected) in [
            ("5 + 1", "6"),
            ("'text'", "text"),
            ("nil", "nil"),
            ("return true", "true"),
            ("x = 1", ""),
            ("t", "a=x\nb=2\n"),
            ("print('a', 1) print('b')", "a\t1\nb\n"),
            ("addACL('10.0.0.0/8')", ""),
            ("stats()", "0 reports\n"),
            ("stats", "0 reports\n"),
            ("stats() stats()", "0 reports\n0 reports\n"),
            ("local text = stats()", "0 reports\n"),
            ("print(stats())", "0 reports\n\n"),
            ("return stats() .. 'x'", "0 reports\nx"),
            ("return", ""),
            ("", ""),
            ("newCA('192.0.2.1')", ""),
            ("return newCA('192.0.2.1')", "192.0.2.1"),
        ] {
            assert_eq!(state.command(command, soon()).unwrap(), expected, "{command}");
        }
        let error = state.command("setNumWorkerThreads(3)", soon()).unwrap_err();
        // An expression is run as `return …`, a tail call: its line is not on the stack any more.
        assert_eq!(Failure::new(&error).message, "setNumWorkerThreads(number): not on the console");
    }
}
