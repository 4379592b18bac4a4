//! What threads share while running, and nothing else. What is decided before the start is in
//! `Config`; each lock here is held for one line.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use parking_lot::{Mutex, RwLock};
use secrecy::SecretString;

use crate::alert::{Alerts, Sink};
use crate::clock::Clock;
use crate::config::{BUILT_IN, Config, PolicyMode};
use crate::device::Devices;
use crate::episode::Episodes;
use crate::error::{Error, Result};
use crate::geoip::Databases;
use crate::logger::Limit;
use crate::net::netmask::NetmaskGroup;
use crate::outbound::Client;
use crate::stats::{Counter, Stats};
use crate::store::{Egress, Store};
use crate::webhook::{Dispatch, Hook, Hooks, Settings, Webhooks};

/// Console commands that the Lua threads keep.
const MAX_COMMANDS: usize = 10_000;

/// What clients could have logged without end.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq)]
pub enum Subject {
    /// Wrong passwords from an address.
    Password(IpAddr),
    /// Connections that can't be accepted.
    Accept,
}

/// What threads share while running.
pub struct Shared {
    /// Counters, latencies and metrics.
    pub stats: Arc<Stats>,
    /// Databases of addresses.
    pub geoip: Databases,
    /// Addresses that many logins share.
    pub egress: Arc<Egress>,
    /// What parses the devices of reports.
    pub devices: Devices,
    /// The deliveries that wait and the threads that make them.
    pub webhooks: Arc<Webhooks>,
    /// What people are to hear of.
    pub alerts: Arc<Alerts>,
    /// What time it is.
    pub clock: Arc<Clock>,
    /// The attacks of the last days.
    pub episodes: Arc<Episodes>,
    /// Lines of the log that clients cause.
    pub complaints: Arc<Limit<Subject>>,
    hooks: RwLock<Hooks>,
    acl: RwLock<NetmaskGroup>,
    password: RwLock<Option<Arc<SecretString>>>,
    metrics_open: AtomicBool,
    endpoints: RwLock<BTreeMap<String, Arc<Counter>>>,
    custom_stats: RwLock<BTreeSet<String>>,
    policies: RwLock<BTreeMap<String, PolicyMode>>,
    /// Groups of policies that rest, and until when.
    pauses: RwLock<HashMap<String, f64>>,
    commands: RwLock<Vec<Arc<str>>>,
    command_count: AtomicUsize,
    noticed: Mutex<HashSet<&'static str>>,
    /// Of reports, if the configuration asks for one, once it is open.
    store: OnceLock<Arc<dyn Store>>,
    /// With which status a policy wants the daemon to end, and where it said so.
    exit: Arc<OnceLock<(u8, String)>>,
}

impl Default for Shared {
    fn default() -> Self {
        Shared::new(Devices::default())
    }
}

impl Shared {
    /// What a configuration starts from.
    pub fn new(devices: Devices) -> Shared {
        let stats = Stats::new();
        let alerts = Alerts::new(&stats);
        Shared::with_alerts(devices, stats, alerts)
    }

    /// The same with alerts that somebody else hears of.
    pub fn with_alerts(devices: Devices, stats: Stats, alerts: Alerts) -> Shared {
        let webhooks = Arc::new(Webhooks::new(&stats));
        Shared {
            stats: Arc::new(stats),
            webhooks,
            alerts: Arc::new(alerts),
            devices,
            clock: Arc::default(),
            episodes: Arc::default(),
            complaints: Arc::default(),
            geoip: Databases::default(),
            egress: Arc::default(),
            hooks: RwLock::default(),
            acl: RwLock::new(NetmaskGroup::default_acl()),
            password: RwLock::new(None),
            metrics_open: AtomicBool::new(false),
            endpoints: RwLock::new(BTreeMap::new()),
            custom_stats: RwLock::default(),
            policies: RwLock::default(),
            pauses: RwLock::default(),
            commands: RwLock::new(Vec::new()),
            command_count: AtomicUsize::new(0),
            noticed: Mutex::new(HashSet::new()),
            store: OnceLock::new(),
            exit: Arc::default(),
        }
    }

    /// What the next configuration starts from: counters, deliveries that wait, and what was learned of
    /// addresses go on.
    pub fn next(&self, devices: Devices) -> Shared {
        Shared {
            stats: self.stats.clone(),
            webhooks: self.webhooks.clone(),
            alerts: self.alerts.clone(),
            clock: self.clock.clone(),
            episodes: self.episodes.clone(),
            complaints: self.complaints.clone(),
            egress: Arc::new(self.egress.next()),
            exit: self.exit.clone(),
            ..Shared::new(devices)
        }
    }

    /// Logs what was kept back so as not to fill the log. Called about once a second.
    pub fn watch(&self, now: Instant) {
        self.webhooks.watch(now);
        self.alerts.watch(now);
        self.complaints.flush(now);
    }

    /// Lets the addresses in one more netmask use the HTTP listeners.
    pub fn add_acl(&self, netmask: &str) -> Result<()> {
        self.acl.write().add(netmask).map_err(|e| Error::Refused(e.to_string()))
    }

    /// Lets the addresses in `netmasks`, and no others, use the HTTP listeners.
    pub fn set_acl(&self, netmasks: &[String]) -> Result<()> {
        let acl = NetmaskGroup::from_masks(netmasks).map_err(|e| Error::Refused(e.to_string()))?;
        *self.acl.write() = acl;
        Ok(())
    }

    /// Whether a peer may use the HTTP listeners; `ip` must not be IPv4-mapped.
    pub fn admits(&self, ip: IpAddr) -> bool {
        self.acl.read().contains(ip)
    }

    /// The masks of the ACL, in the order they were given.
    pub fn acl(&self) -> Vec<String> {
        self.acl.read().masks()
    }

    /// Sets the password of the HTTP listeners.
    pub fn set_password(&self, password: String) -> Result<()> {
        if password.is_empty() {
            return Err(Error::Refused("the password is empty".into()));
        }
        *self.password.write() = Some(Arc::new(password.into()));
        Ok(())
    }

    /// The password of the HTTP listeners, if there is one.
    pub fn password(&self) -> Option<Arc<SecretString>> {
        self.password.read().clone()
    }

    /// Lets `/metrics` be read without the password.
    pub fn open_metrics(&self) {
        self.metrics_open.store(true, Ordering::Relaxed);
    }

    /// Whether `/metrics` may be read without the password.
    pub fn has_open_metrics(&self) -> bool {
        self.metrics_open.load(Ordering::Relaxed)
    }

    /// Declares a custom counter.
    pub fn add_custom_stat(&self, name: &str) -> Result<()> {
        self.stats.add_custom(name)?;
        self.custom_stats.write().insert(name.to_owned());
        Ok(())
    }

    /// Forgets the counters that belong to no part of this configuration, but to one before it, or to
    /// one that failed.
    pub fn forget_others(&self) {
        let custom = self.custom_stats.read();
        let endpoints = self.endpoints.read();
        let is_command = |name: &str| BUILT_IN.contains(&name) || endpoints.contains_key(name);
        self.stats.retain(|name| custom.contains(name), is_command);
        let policies = self.policies.read();
        self.stats.policies.retain(|name| policies.contains_key(name), &self.stats.metrics);
        let hooks = self.hooks.read();
        self.stats.metrics.retain_webhooks(|id, url| hooks.has_counter(id, url));
    }

    /// Declares a policy, or changes how it is used.
    pub fn add_policy(&self, name: &str, mode: PolicyMode) {
        self.policies.write().insert(name.to_owned(), mode);
    }

    /// The policies, by name.
    pub fn policies(&self) -> BTreeMap<String, PolicyMode> {
        self.policies.read().clone()
    }

    /// Lets the policies of a group rest until a time.
    pub fn pause(&self, group: &str, until: f64) {
        self.pauses.write().insert(group.to_owned(), until);
    }

    /// Whether the policies of a group rest at a time.
    pub fn is_paused(&self, group: Option<&str>, t: f64) -> bool {
        group.is_some_and(|group| self.pauses.read().get(group).is_some_and(|until| t < *until))
    }

    /// Declares a custom endpoint.
    pub fn add_endpoint(&self, name: &str) {
        let counter = self.stats.command(name);
        self.endpoints.write().insert(name.to_owned(), counter);
    }

    /// The name and the counter of a custom endpoint.
    pub fn endpoint(&self, name: &str) -> Option<Arc<Counter>> {
        self.endpoints.read().get(name).cloned()
    }

    /// The names of the custom endpoints, sorted.
    pub fn endpoints(&self) -> Vec<String> {
        self.endpoints.read().keys().cloned().collect()
    }

    /// Adds a custom webhook, unless there is one of that name.
    pub fn add_webhook(&self, name: &str, keys: &[(String, Vec<u8>)]) -> Result<()> {
        self.hooks.write().add(name, keys, &self.stats)
    }

    /// Queues a delivery of a custom webhook. Whoever asks does not wait, and hears of no failure: that
    /// is in the log and in the counters.
    pub fn run_webhook(&self, name: &str, body: Vec<u8>) {
        let hook: Option<Arc<Hook>> = self.hooks.read().find(name).cloned();
        match hook {
            Some(hook) => self.webhooks.push(hook, body),
            None => self.webhooks.complain_of_unknown(name),
        }
    }

    /// The custom webhooks.
    pub fn webhook_table(&self) -> String {
        self.hooks.read().table()
    }

    /// How webhooks are to be delivered when a configuration that has run is put to use.
    pub fn prepare_webhooks(&self, config: &Config) -> Result<Dispatch> {
        let hooks = self.hooks.read();
        let limits = config.webhooks.clone();
        let client = Client::new(hooks.has_https().then_some(&config.outbound), limits.deliveries())?;
        hooks.set(Settings { client, timeout: limits.timeout });
        Ok(Dispatch { limits, shares: hooks.len() > 1 })
    }

    /// Who hears of alerts when a configuration that has run is put to use, whose webhooks are prepared.
    pub fn prepare_sinks(&self, config: &Config) -> Result<Vec<Sink>> {
        let find = |name: &str| self.hooks.read().find(name).cloned();
        let make = |settings| Sink::make(settings, &config.outbound, &self.egress, find);
        config.sinks.iter().map(make).collect()
    }

    /// Removes every trace of a login from the report store and from the alerts.
    pub fn forget(&self, login: &str) -> Result<u64> {
        let store = self
            .store()
            .ok_or_else(|| Error::Refused("there is no newReportStore() in the configuration".into()))?;
        // The store removes what is left of both in its files.
        self.alerts.forget(login)?;
        store.forget(login)
    }

    /// The report store that the configuration asks for is open. The first one counts.
    pub fn set_store(&self, store: Arc<dyn Store>) {
        self.store.get_or_init(|| store);
    }

    /// The report store, if there is one.
    pub fn store(&self) -> Option<Arc<dyn Store>> {
        self.store.get().cloned()
    }

    /// Whether one more console command can be left for the Lua threads.
    pub fn check_spread(&self) -> Result<()> {
        if self.command_count() < MAX_COMMANDS {
            return Ok(());
        }
        Err(Error::Refused(format!(
            "{MAX_COMMANDS} commands have reached the Lua threads: put them in the configuration and reload it"
        )))
    }

    /// Leaves a console command for every Lua thread to run before its next job.
    ///
    /// They are kept, because a Lua state that is made later has to run them too.
    pub fn spread(&self, command: &str) -> Result<()> {
        self.check_spread()?;
        let mut commands = self.commands.write();
        commands.push(Arc::from(command));
        self.command_count.store(commands.len(), Ordering::Release);
        Ok(())
    }

    /// How many console commands there have been, without a lock.
    pub fn command_count(&self) -> usize {
        self.command_count.load(Ordering::Acquire)
    }

    /// The console commands after the first `seen`.
    pub fn commands_after(&self, seen: usize) -> Vec<Arc<str>> {
        self.commands.read()[seen..].to_vec()
    }

    /// Has the daemon end in good order, whichever of its configurations asks first. Whether this one
    /// does.
    pub fn exit(&self, status: u8, text: String) -> bool {
        self.exit.set((status, text)).is_ok()
    }

    /// Why the daemon is to end, if it is: the status and where a policy said so.
    pub fn exit_asked(&self) -> Option<&(u8, String)> {
        self.exit.get()
    }

    /// Whether `what` happens for the first time: some things are worth one line in the log.
    pub fn is_news(&self, what: &'static str) -> bool {
        self.noticed.lock().insert(what)
    }
}
