//! The report store as the configuration asks for it, policies ask it, and the console looks after it.
//! What the questions mean and what keeps the answers is in `store`.

mod answer;
mod question;
mod session;
mod settings;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use chrono::{DateTime, SecondsFormat};
use rlua::{IntoLua, Lua, Table, UserData, UserDataFields};

use crate::episode::Episode;
use crate::error::{Error, Result};
use crate::lua::api::{ANYWHERE, CONSOLE, Context, FILE, Func, func};
use crate::lua::method::{Method, add_methods, method};
use crate::lua::options::Options;
use crate::lua::policy::Stage;
use crate::shared::Shared;
use crate::stats::MINUTES;
use crate::store::query::{Dimension, PlatformCounts, Profile, Reader, Source, TopRow, Value};
use crate::store::record::{Record, Seconds};
use crate::store::{Status, Store};

use answer::{Answer, Attack, Failures, Fed, Seen};
pub use question::Nets;
use question::{Failing, Login, Named, Whence};
pub use session::Session;

#[rustfmt::skip] // A function has three lines: what it is called with, its help, what it does.
pub static FUNCS: &[Func] = &[
    func!(FILE, newReportStore(options: Options),
        "Keep reports, and what they say of logins and addresses.",
        |_lua, cx| settings::add(&mut cx.config.borrow_mut(), &options)),
    func!(FILE, setTrustedNets(nets: Nets),
        "Name networks that many logins come from: a success there teaches no place.",
        |_lua, cx| cx.shared.egress.trust(&nets.0)),
    func!(ANYWHERE, reportStore(),
        "Give the report store, or nil where there is none.",
        |_lua, cx| Ok(find(cx))),
    func!(CONSOLE, showStore(),
        "Show how much the report store holds and how far it is behind.",
        |_lua, cx| Ok(lines(&there(&cx.shared)?.status()?))),
    func!(CONSOLE, forgetLogin(login: Login),
        "Remove every trace of a login from the report store.",
        |_lua, cx| cx.shared.forget(&login.0).map(|rows| format!("{rows} rows removed\n"))),
    func!(CONSOLE, backupStore(path: String),
        "Write what the report store holds to a file.",
        |_lua, cx| there(&cx.shared)?.backup(Path::new(&path)).map(|()| begun(&path))),
];

/// The store, asked by one Lua state. It opens when the configuration has run; until then it has no
/// answers.
pub struct ReportStore {
    shared: Arc<Shared>,
    session: Rc<Session>,
    stage: Rc<Stage>,
}

/// The methods of a ReportStore.
#[rustfmt::skip]
pub static REPORT_STORE: &[Method<ReportStore>] = &[
    method!(profile(login: Login),
        "What is known of a login, or nil if it never succeeded.",
        |this| Ok(this.profile(&login.0))),
    method!(seen(login: Login, dimension: String, value: Named),
        "What is known of a login with one value of a dimension, or nil.",
        |this| this.seen(&login.0, dimension.parse()?, &value)),
    method!(values(login: Login, dimension: String),
        "What is known of a login with every value of a dimension.",
        |this| dimension.parse().map(|dimension| this.values(&login.0, dimension))),
    method!(established(login: Login),
        "Whether a login is in use long enough to tell what is unusual for it.",
        |this| Ok(this.established(&login.0))),
    method!(familiar(login: Login, dimension: String, value: Named),
        "Whether a login was used with one value of a dimension on 3 days at least.",
        |this| this.familiar(&login.0, dimension.parse()?, &value)),
    method!(failures(query: Options),
        "How often a login, an address or a network failed.",
        |this| this.failures(&query)),
    method!(usual(query: Options),
        "On how many logins an address or a network fails within some hours, usually.",
        |this| this.usual(&query)),
    method!(reports(query: Options),
        "The reports of a login or an address.",
        |this| this.reports(&query)),
    method!(top(query: Options),
        "Who has the most failures or successes.",
        |this| this.top(&query)),
    method!(platform(query: Options),
        "What happened on the whole platform or in a part of it.",
        |this| this.platform(&query)),
    method!(isShared(source: Whence),
        "Whether many logins come from an address, or from all of a network.",
        |this| Ok(this.shared.egress.has(source.0))),
    method!(familiarPlace(report: Table),
        "Whether a login came from the place of a report on several days before.",
        |this| this.familiar_place(&report)),
    method!(episode(address: Option<Whence>, net: Option<Whence>),
        "The attack of an address or else of its network, or nil.",
        |this| Ok(this.episode(address, net))),
    method!(openEpisode(source: Whence),
        "Open an episode, an attack that goes on until its source is silent for a day.",
        |this| this.open_episode(source.0)),
    method!(isAttacking(net: Whence),
        "Whether an attack goes on from a network or an address in it.",
        |this| Ok(this.is_attacking(net.0))),
    method!(feed(minutes: usize),
        "How many reports came in the last minutes.",
        |this| this.feed(minutes)),
    method!(forget(login: Login),
        "Remove every trace of a login.",
        |this| Ok(this.forget(&login.0))),
];

impl ReportStore {
    fn profile(&self, login: &str) -> Answer<Option<Profile>> {
        match self.session.memory(login) {
            Some(memory) => Answer::of(memory.profile()),
            None => self.ask(|reader| reader.profile(login)),
        }
    }

    fn established(&self, login: &str) -> Answer<bool> {
        let now = self.session.now() as Seconds;
        self.profile(login).map(|profile| profile.is_some_and(|profile| profile.is_established(now)))
    }

    fn familiar(&self, login: &str, dimension: Dimension, value: &Named) -> Result<Answer<bool>> {
        let answer = self.seen(login, dimension, value)?;
        Ok(answer.map(|known| known.is_some_and(|Seen(value)| value.is_familiar())))
    }

    fn seen(&self, login: &str, dimension: Dimension, value: &Named) -> Result<Answer<Option<Seen>>> {
        let value = value.of(dimension)?;
        if value.is_empty() {
            // What was not known was not counted.
            return Ok(Answer::of(None));
        }
        let answer = match self.session.memory(login) {
            Some(memory) => Answer::of(memory.seen(dimension, &value)),
            None => self.ask(|reader| reader.seen(login, dimension, &value)),
        };
        Ok(answer.map(|known| known.map(Seen)))
    }

    fn values(&self, login: &str, dimension: Dimension) -> Answer<Vec<Value>> {
        match self.session.memory(login) {
            Some(memory) => Answer::of(memory.values(dimension)),
            None => self.ask(|reader| reader.values(login, dimension)),
        }
    }

    fn failures(&self, query: &Options) -> Result<Answer<Failures>> {
        let (who, window) = question::failures(query, self.session.now())?;
        Ok(self.ask(|reader| match &who {
            Failing::Login(login) => reader.login_failures(login, window).map(Failures::Login),
            Failing::Source(source) => reader.source(*source, window).map(Failures::Source),
        }))
    }

    fn usual(&self, query: &Options) -> Result<Answer<u64>> {
        let (source, past) = question::usual(query, self.session.now())?;
        Ok(Answer::from(self.store().and_then(|store| self.session.usual(&*store, source, past))))
    }

    fn reports(&self, query: &Options) -> Result<Answer<Vec<Record>>> {
        let query = question::reports(query)?;
        Ok(self.ask(|reader| reader.reports(&query)))
    }

    fn top(&self, query: &Options) -> Result<Answer<Vec<TopRow>>> {
        let query = question::top(query, self.session.now())?;
        Ok(self.ask(|reader| reader.top(&query)))
    }

    fn platform(&self, query: &Options) -> Result<Answer<PlatformCounts>> {
        let (part, value, window) = question::platform(query, self.session.now())?;
        Ok(self.ask(|reader| reader.platform(part, &value, window)))
    }

    fn forget(&self, login: &str) -> Answer<u64> {
        Answer::from(self.store().and_then(|_| self.shared.forget(login)))
    }

    /// Its network, or its autonomous system in its country. Shared egress is nobody's place.
    fn familiar_place(&self, report: &Table) -> Result<Answer<bool>> {
        let text = |name: &str| -> Result<Option<Named>> {
            Ok(report.get::<_, Option<String>>(name)?.map(Named::Text))
        };
        let login = report.get::<_, String>("login")?;
        let mut answer = Answer::of(false);
        for dimensions in [&[Dimension::Net][..], &[Dimension::Country, Dimension::Asn]] {
            answer = Answer::of(true);
            for dimension in dimensions {
                answer = match text(dimension.name())? {
                    Some(value) => answer.and(self.familiar(&login, *dimension, &value)?),
                    None => Answer::of(false),
                };
            }
            if !answer.is(&false) {
                break;
            }
        }
        Ok(answer)
    }

    fn episode(&self, address: Option<Whence>, net: Option<Whence>) -> Option<Attack> {
        let ip = address.and_then(|Whence(source)| match source {
            Source::Ip(ip) => Some(ip),
            Source::Net(_) => None,
        });
        let net = net.and_then(|Whence(source)| match source {
            Source::Ip(_) => None,
            Source::Net(net) => Some(net),
        });
        let now = self.session.now();
        self.shared.episodes.find(ip, net, now).map(|episode| Attack { episode, now })
    }

    fn open_episode(&self, source: Source) -> Result<(Attack, bool)> {
        let now = self.session.now();
        let policy = self.stage.running().ok_or_else(|| Error::Refused("only policies do so".into()))?;
        let store = self.shared.store();
        let (episode, is_new) = self.shared.episodes.open(store.as_deref(), source, &policy.name, now);
        if is_new {
            self.stage.opened(episode.clone());
        }
        Ok((Attack { episode, now }, is_new))
    }

    fn is_attacking(&self, source: Source) -> bool {
        let net = match source {
            Source::Ip(ip) => ip.into(),
            Source::Net(net) => net,
        };
        self.shared.episodes.is_open_within(net, self.session.now())
    }

    fn feed(&self, minutes: usize) -> Result<Fed> {
        let minutes = u32::try_from(minutes).ok().filter(|minutes| (1..=MINUTES).contains(minutes));
        let minutes =
            minutes.ok_or_else(|| Error::Refused(format!("minutes: from 1 to {MINUTES} expected")))?;
        Ok(Fed(self.shared.stats.pulse.last(self.session.now(), minutes)))
    }

    fn ask<T>(&self, question: impl FnOnce(&mut dyn Reader) -> Result<T>) -> Answer<T> {
        Answer::from(self.store().and_then(|store| self.session.ask(&*store, question)))
    }

    fn store(&self) -> Result<Arc<dyn Store>> {
        self.shared.store().ok_or_else(|| Error::Store("it opens when the configuration has run".into()))
    }
}

impl UserData for ReportStore {
    fn add_fields<'lua, F: UserDataFields<'lua, Self>>(fields: &mut F) {
        add_methods("ReportStore", REPORT_STORE, fields);
    }
}

/// An episode as policies have it.
pub fn episode_table<'lua>(lua: &'lua Lua, episode: &Episode, now: f64) -> rlua::Result<rlua::Value<'lua>> {
    Attack { episode: episode.clone(), now }.into_lua(lua)
}

/// The store, if the configuration asks for one. It does so in the first state alone; others are made when
/// the store is open.
fn find(cx: &Context) -> Option<ReportStore> {
    let is_there = cx.config.borrow().store.is_some() || cx.shared.store().is_some();
    is_there.then(|| ReportStore {
        shared: cx.shared.clone(),
        session: cx.session.clone(),
        stage: cx.stage.clone(),
    })
}

/// The store, for the console.
fn there(shared: &Shared) -> Result<Arc<dyn Store>> {
    let none = || Error::Refused("there is no newReportStore() in the configuration".into());
    shared.store().ok_or_else(none)
}

/// What the console says of a backup.
fn begun(path: &str) -> String {
    format!("being written to {path}: the log says when it is done\n")
}

/// How a store is, one `name=value` a line; what is not known has no line.
fn lines(status: &Status) -> String {
    let date = |t: f64| DateTime::from_timestamp(t as i64, 0);
    let oldest = status.oldest.and_then(date).map(|date| date.to_rfc3339_opts(SecondsFormat::Secs, true));
    let pairs = [
        ("rows", Some(status.rows.to_string())),
        ("bytes", Some(status.bytes.to_string())),
        ("oldest", oldest),
        ("queue", Some(status.queue.to_string())),
        ("lag", Some(format!("{:.3}", status.lag.as_secs_f64()))),
    ];
    let known = pairs.into_iter().filter_map(|(name, value)| Some(format!("{name}={}\n", value?)));
    known.collect()
}
