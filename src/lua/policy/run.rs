//! Running policies: for a report, for an episode that has been opened, and on schedule. One that fails
//! costs a line in the log, and keeps nothing else from being run.

use std::sync::atomic::Ordering;
use std::time::Instant;

use rlua::{Function, RegistryKey, Table, Value};

use crate::config::PolicyMode;
use crate::episode::Episode;
use crate::error::Result;
use crate::logger;
use crate::lua::policy::{ATTACKS, Policy, Running, SCHEDULED, SUPPRESSORS};
use crate::lua::store::episode_table;
use crate::lua::{Failure, State};
use crate::store::Known;
use crate::store::record::Outcome;

impl State {
    /// Shows a report to the policies.
    pub(in crate::lua) fn judge(&self, login: &Table, known: &Known) -> Result<()> {
        let (cx, record) = (&self.context, &known.record);
        if cx.policies.borrow().is_empty() {
            return Ok(());
        }
        let (t, outcome) = (record.t, record.outcome());
        let shared = &cx.shared;
        if matches!(outcome, Outcome::Fail { .. }) {
            shared.episodes.touch(shared.store().as_deref(), record.ip, record.net, t);
        }
        shared.stats.pulse.note(shared.clock.now(), record.fail_type == "internal");
        let mut is_harmless = false;
        for policy in cx.policies.borrow().iter().filter(|policy| policy.mode != PolicyMode::Off) {
            let group = policy.group.as_deref();
            if is_harmless && group == Some(ATTACKS) || shared.is_paused(group, t) {
                continue;
            }
            let functions = &policy.functions;
            let own = match outcome {
                Outcome::Ok => &functions.success,
                Outcome::Fail { .. } => &functions.failure,
                Outcome::Neither => &None,
            };
            for function in [&functions.report, own].into_iter().flatten() {
                let result = self.run_policy(policy, function, login.clone());
                if group == Some(SUPPRESSORS) && matches!(result, Some(Value::Boolean(true))) {
                    policy.counter.hits.fetch_add(1, Ordering::Relaxed);
                    is_harmless = true;
                }
            }
            for episode in cx.stage.take_opened() {
                self.tell(&episode)?;
            }
        }
        Ok(())
    }

    /// Tells the policies of an episode that has been opened.
    fn tell(&self, episode: &Episode) -> Result<()> {
        let cx = &self.context;
        let t = cx.session.now();
        for policy in cx.policies.borrow().iter().filter(|policy| policy.mode != PolicyMode::Off) {
            if let Some(function) = &policy.functions.episode {
                self.run_policy(policy, function, episode_table(&self.lua, episode, t)?);
            }
        }
        Ok(())
    }

    /// Runs the policy of a background function, if it is one's; what is left to do when it is not.
    pub(in crate::lua) fn run_scheduled(&self, name: &str) -> Result<bool> {
        let Some(name) = name.strip_prefix(SCHEDULED) else { return Ok(false) };
        let cx = &self.context;
        for policy in cx.policies.borrow().iter().filter(|policy| *policy.name == *name) {
            if let Some(function) = &policy.functions.schedule
                && !cx.shared.is_paused(policy.group.as_deref(), cx.session.now())
            {
                self.run_policy(policy, function, cx.session.now());
            }
            for episode in cx.stage.take_opened() {
                self.tell(&episode)?;
            }
        }
        Ok(true)
    }

    /// Calls a function of a policy with something and its options; what it returns, unless it fails.
    fn run_policy<'lua>(
        &'lua self,
        policy: &Policy,
        function: &RegistryKey,
        about: impl rlua::IntoLua<'lua>,
    ) -> Option<Value<'lua>> {
        let start = Instant::now();
        let call = || -> rlua::Result<Value<'lua>> {
            let function: Function = self.lua.registry_value(function)?;
            let options: Table = self.lua.registry_value(&policy.options)?;
            function.call((about, options))
        };
        let stage = &self.context.stage;
        stage.enter(Running {
            name: policy.name.clone(),
            is_dry: policy.mode == PolicyMode::DryRun,
            counter: policy.counter.clone(),
        });
        let result = call();
        stage.leave();
        policy.counter.ran(start.elapsed());
        result.inspect_err(|e| fail(policy, Failure::new(&e.clone().into()))).ok()
    }
}

fn fail(policy: &Policy, failure: Failure) {
    policy.counter.errors.inc();
    let mut fields = Vec::new();
    if !failure.traceback.is_empty() {
        fields.push(("traceback", failure.traceback));
    }
    let text = format!("policy [{}] exception: {}", policy.name, failure.message);
    log::error!("{}", logger::line(&text, &fields));
}
