//! Policies: files of Lua that look at each report, or at the clock, and raise alerts. The configuration
//! says which are used and how; what they can ask is in the modules beside this one.

mod file;
mod run;
mod shipped;
mod stage;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use rlua::{Lua, RegistryKey, Table, Value};

use crate::config::{PolicyMode, Scheduled, When};
use crate::error::{Error, Result};
use crate::lua::api::{CONSOLE, Context, Func, Phase, Role, func, place};
use crate::lua::argument::{Argument, type_name};
use crate::lua::store::Nets;
use crate::shared::Shared;
use crate::stats::PolicyCounter;

use file::{File, keys, read};
use shipped::SHIPPED;
pub use stage::{Running, Stage};

/// The configuration alone, in every state that runs reports.
const USE: &[Role] = &[Role::Config, Role::Worker];

#[rustfmt::skip] // A function has three lines: what it is called with, its help, what it does.
pub static FUNCS: &[Func] = &[
    func!(USE, usePolicy(name: String, options: Option<Table>),
        "Use a policy, by its name or the path of its file.",
        |lua, cx| use_one(lua, cx, &name, options.as_ref())),
    func!(USE, usePolicies(set: String, options: Option<Table>),
        "Use the policies of a set.",
        |lua, cx| use_set(lua, cx, &set, options.as_ref())),
    func!(&[Role::Worker], pausePolicies(group: String, duration: Duration),
        "Let the policies of a group rest for some seconds.",
        |_lua, cx| { cx.shared.pause(&group, cx.session.now() + duration.as_secs_f64()); Ok(()) }),
    func!(CONSOLE, showPolicies(),
        "Show the policies that are used, and what became of them.",
        |_lua, cx| Ok(table(&cx.shared))),
];

/// A policy in one Lua state.
pub struct Policy {
    pub name: Arc<str>,
    mode: PolicyMode,
    group: Option<String>,
    /// Its options, as its functions get them.
    options: RegistryKey,
    functions: Functions,
    counter: Arc<PolicyCounter>,
}

/// What a policy wants to be called for.
#[derive(Default)]
struct Functions {
    report: Option<RegistryKey>,
    success: Option<RegistryKey>,
    failure: Option<RegistryKey>,
    episode: Option<RegistryKey>,
    schedule: Option<RegistryKey>,
}

/// The group whose policies are kept from reports that one of [`SUPPRESSORS`] knows to be harmless.
pub const ATTACKS: &str = "attack";
pub const SUPPRESSORS: &str = "suppressor";

/// The background function of a policy has this before its name.
pub const SCHEDULED: &str = "policy ";

fn use_set(lua: &Lua, cx: &Context, set: &str, options: Option<&Table>) -> Result<()> {
    if set != "standard" {
        return Err(Error::Bad { what: "\"standard\"", value: set.into() });
    }
    trust(lua, cx, options)?;
    let mut unknown = own_keys(options)?;
    for policy in SHIPPED.iter().filter(|policy| policy.is_standard) {
        let file = read(lua, policy.name)?;
        let own = lua.create_table()?;
        own.set(MODE, options.map(|all| all.get::<_, Value>(MODE)).transpose()?)?;
        for key in own_keys(options)? {
            if file.defaults.contains_key(key.as_str())? {
                unknown.retain(|other| *other != key);
                own.set(key.as_str(), options.map(|all| all.get::<_, Value>(key.as_str())).transpose()?)?;
            }
        }
        add(lua, cx, file, Some(&own))?;
    }
    match unknown.first() {
        Some(key) => Err(Error::Refused(format!("options: no policy of the set has one named \"{key}\""))),
        None => Ok(()),
    }
}

fn use_one(lua: &Lua, cx: &Context, name: &str, options: Option<&Table>) -> Result<()> {
    trust(lua, cx, options)?;
    let file = read(lua, name)?;
    add(lua, cx, file, options)
}

/// Takes over the networks that the options trust, once, in the state that configures.
fn trust(lua: &Lua, cx: &Context, options: Option<&Table>) -> Result<()> {
    let Some(options) = options else { return Ok(()) };
    let value = options.get::<_, Value>(TRUSTED)?;
    let found = type_name(&value);
    let nets = Option::<Nets>::from_value(value, lua);
    let nets = nets.ok_or_else(|| {
        Error::Refused(format!("options: {TRUSTED}: {} expected, got {found}", Nets::WANTED))
    })?;
    match nets {
        Some(Nets(nets)) if cx.role.get() == Role::Config => cx.shared.egress.trust(&nets),
        _ => Ok(()),
    }
}

/// The keys of options but for those that every policy has.
fn own_keys(options: Option<&Table>) -> Result<Vec<String>> {
    Ok(keys(options)?.into_iter().filter(|key| key != MODE && key != TRUSTED).collect())
}

/// The options that every policy has: the one is its own, the other is everybody's.
const MODE: &str = "mode";
const TRUSTED: &str = "trusted_nets";

/// Uses a policy. If it is used already, the options change.
fn add(lua: &Lua, cx: &Context, file: File, given: Option<&Table>) -> Result<()> {
    if cx.phase.get() != Phase::File {
        return Err(Error::Refused("only in the configuration".into()));
    }
    let before = cx.policies.borrow().iter().position(|policy| *policy.name == *file.name);
    let earlier = before.map(|at| lua.registry_value::<Table>(&cx.policies.borrow()[at].options));
    let options = merge(lua, &file, earlier.transpose()?, given)?;
    let mode =
        options.raw_get::<_, Option<String>>(MODE)?.map_or(Ok(PolicyMode::DryRun), |mode| mode.parse());
    let mode = mode.map_err(|e: Error| file.bad(format!("mode: {e}")))?;
    options.raw_set(MODE, mode.name())?;
    let (functions, when) = (file.functions(lua)?, file.when()?);
    if cx.role.get() == Role::Config {
        configure(lua, cx, &file.name, mode, when);
    }
    let stats = &cx.shared.stats;
    let policy = Policy {
        counter: stats.policies.of(&file.name, &stats.metrics),
        mode,
        group: file.table.get("group")?,
        options: lua.create_registry_value(options)?,
        functions,
        name: file.name.into(),
    };
    let mut policies = cx.policies.borrow_mut();
    match before {
        Some(at) => policies[at] = policy,
        None => policies.push(policy),
    }
    // What is known to be harmless is to be known first.
    policies.sort_by_key(|policy| policy.group.as_deref() != Some(SUPPRESSORS));
    Ok(())
}

/// The options of a policy: its defaults or what was said earlier, and what is given.
fn merge<'lua>(
    lua: &'lua Lua,
    file: &File,
    earlier: Option<Table<'lua>>,
    given: Option<&Table<'lua>>,
) -> Result<Table<'lua>> {
    let options = lua.create_table()?;
    for table in [Some(file.defaults.clone()), earlier].into_iter().flatten() {
        for pair in table.pairs::<Value, Value>() {
            let (key, value) = pair?;
            options.raw_set(key, value)?;
        }
    }
    for key in keys(given)?.into_iter().filter(|key| key != TRUSTED) {
        let value = given.map_or(Ok(Value::Nil), |given| given.get::<_, Value>(key.as_str()))?;
        let default = match key.as_str() {
            MODE => Value::String(lua.create_string("")?),
            key => file.defaults.get::<_, Value>(key)?,
        };
        if default.is_nil() {
            let mut known = keys(Some(&file.defaults))?;
            known.extend([MODE.into(), TRUSTED.into()]);
            known.sort();
            return Err(file.bad(format!("no option named \"{key}\": there are {}", known.join(", "))));
        }
        let (expected, got) = (type_name(&default), type_name(&value));
        if expected != got {
            return Err(file.bad(format!("{key}: {expected} expected, got {got}")));
        }
        options.raw_set(key, value)?;
    }
    Ok(options)
}

/// Has a policy known to everybody, and called when it is due.
fn configure(lua: &Lua, cx: &Context, name: &str, mode: PolicyMode, when: Option<When>) {
    let mut config = cx.config.borrow_mut();
    config.policies.insert(name.to_owned(), mode);
    let scheduled = format!("{SCHEDULED}{name}");
    config.scheduled.retain(|other| other.name != scheduled);
    if let Some(when) = when.filter(|_| mode != PolicyMode::Off) {
        config.background.insert(scheduled.clone());
        config.scheduled.push(Scheduled { name: scheduled, when, place: place(lua) });
    }
    cx.shared.add_policy(name, mode);
}

/// A heading and a line for each policy.
fn table(shared: &Shared) -> String {
    let mut text = format!(
        "{:<28} {:<8} {:>10} {:>10} {:>8} {:>10}\n",
        "Policy", "Mode", "Hits", "Suppressed", "Errors", "us/run"
    );
    for (name, mode) in shared.policies() {
        let counter = shared.stats.policies.of(&name, &shared.stats.metrics);
        let [hits, suppressed, errors] = counter.counts();
        let mean = counter.mean_us();
        let mode = mode.name();
        text += &format!("{name:<28} {mode:<8} {hits:>10} {suppressed:>10} {errors:>8} {mean:>10.1}\n");
    }
    text
}
