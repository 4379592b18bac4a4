//! Episodes: attacks from an address or a network. A policy opens one; it goes on as long as the source
//! keeps failing, and is over after a day of silence. All are in memory, and in the store's file.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use ipnet::IpNet;
use parking_lot::Mutex;
use rusqlite::params;

use crate::error::{Error, Result};
use crate::store::Store;
use crate::store::query::Source;

/// Seconds of silence after which an episode is over.
const SILENCE: f64 = 24.0 * 3600.0;

/// Seconds after that in which it is remembered: whoever comes from there then is suspicious.
const MEMORY: f64 = 24.0 * 3600.0;

/// Episodes that are remembered; those that were silent longest make room.
const MOST: usize = 100_000;

/// How many seconds the file may be behind with the latest failure.
const BEHIND: f64 = 600.0;

/// An attack from a source.
#[derive(Clone, Debug, PartialEq)]
pub struct Episode {
    pub source: Source,
    /// The policies that have noticed it, first the one that has opened it.
    pub rules: Vec<Arc<str>>,
    /// When it was opened, and when the source failed last, in seconds since the epoch.
    pub first: f64,
    pub last: f64,
}

/// The episodes of the last days.
#[derive(Default)]
pub struct Episodes {
    /// Addresses come in their order, so that those of a network are a span.
    known: Mutex<BTreeMap<Source, Known>>,
    /// How many there are, for those who look all the time.
    count: AtomicUsize,
}

struct Known {
    episode: Episode,
    /// The latest failure as the file has it.
    written: f64,
}

impl Episode {
    /// What tells it from others, of the same source as well.
    pub fn id(&self) -> String {
        format!("{}@{}", self.source, self.first as u64)
    }

    /// Whether it goes on at a time.
    pub fn is_open(&self, t: f64) -> bool {
        t <= self.last + SILENCE
    }

    fn is_remembered(&self, t: f64) -> bool {
        t <= self.last + SILENCE + MEMORY
    }
}

impl Episodes {
    /// Remembers what a store's file has.
    pub fn load(&self, store: &dyn Store) -> Result<()> {
        let file = store.read_aside()?;
        let read = || -> rusqlite::Result<Vec<Episode>> {
            let mut find = file.prepare("SELECT source, rules, first, last FROM episode")?;
            let rows = find.query_map([], |row| {
                let (source, rule): (String, String) = (row.get(0)?, row.get(1)?);
                let (first, last) = (row.get(2)?, row.get(3)?);
                let rules = rule.split(' ').map(Arc::from).collect();
                Ok(source.parse().ok().map(|source| Episode { source, rules, first, last }))
            })?;
            rows.filter_map(std::result::Result::transpose).collect()
        };
        let episodes = read().map_err(|e| Error::Store(format!("episodes: {e}")))?;
        let mut known = self.known.lock();
        for episode in episodes {
            let written = episode.last;
            known.insert(episode.source, Known { episode, written });
        }
        self.count.store(known.len(), Ordering::Relaxed);
        Ok(())
    }

    /// A policy has noticed an attack: opens an episode, or adds to the one that goes on; whether it is a
    /// new one.
    pub fn open(
        &self,
        store: Option<&dyn Store>,
        source: Source,
        rule: &Arc<str>,
        t: f64,
    ) -> (Episode, bool) {
        let (episode, is_new) = {
            let mut known = self.known.lock();
            match known.get_mut(&source).filter(|found| found.episode.is_open(t)) {
                Some(found) if found.episode.rules.contains(rule) => return (found.episode.clone(), false),
                Some(found) => {
                    found.episode.rules.push(rule.clone());
                    (found.episode.clone(), false)
                }
                None => {
                    make_room(&mut known, t);
                    let episode = Episode { source, rules: vec![rule.clone()], first: t, last: t };
                    known.insert(source, Known { episode: episode.clone(), written: t });
                    self.count.store(known.len(), Ordering::Relaxed);
                    (episode, true)
                }
            }
        };
        write(store, &episode, t);
        (episode, is_new)
    }

    /// A source has failed: its episodes go on.
    pub fn touch(&self, store: Option<&dyn Store>, ip: Option<IpAddr>, net: Option<IpNet>, t: f64) {
        if self.is_empty() {
            return;
        }
        for source in sources(ip, net) {
            let behind = {
                let mut known = self.known.lock();
                let Some(found) = known.get_mut(&source).filter(|found| found.episode.is_open(t)) else {
                    continue;
                };
                found.episode.last = found.episode.last.max(t);
                let is_behind = found.episode.last - found.written > BEHIND;
                is_behind.then(|| {
                    found.written = found.episode.last;
                    found.episode.clone()
                })
            };
            behind.into_iter().for_each(|episode| write(store, &episode, t));
        }
    }

    /// The episode of an address, or else of its network, that goes on or was over less than a day ago.
    pub fn find(&self, ip: Option<IpAddr>, net: Option<IpNet>, t: f64) -> Option<Episode> {
        if self.is_empty() {
            return None;
        }
        let known = self.known.lock();
        let mut found = sources(ip, net).filter_map(|source| known.get(&source));
        found.find(|found| found.episode.is_remembered(t)).map(|found| found.episode.clone())
    }

    /// Whether one goes on of a network or an address in it.
    pub fn is_open_within(&self, net: IpNet, t: f64) -> bool {
        if self.is_empty() {
            return false;
        }
        let known = self.known.lock();
        let addresses = known.range(Source::Ip(net.network())..=Source::Ip(net.broadcast()));
        let mut all = addresses.map(|(_, known)| known).chain(known.get(&Source::Net(net)));
        all.any(|known| known.episode.is_open(t))
    }

    fn is_empty(&self) -> bool {
        self.count.load(Ordering::Relaxed) == 0
    }
}

fn sources(ip: Option<IpAddr>, net: Option<IpNet>) -> impl Iterator<Item = Source> {
    ip.map(Source::Ip).into_iter().chain(net.map(Source::Net))
}

/// Forgets what is over, and if that is not enough, those that were silent longest.
fn make_room(known: &mut BTreeMap<Source, Known>, t: f64) {
    if known.len() < MOST {
        return;
    }
    known.retain(|_, known| known.episode.is_remembered(t));
    if known.len() >= MOST {
        // A hundredth of them, so that it is not done for each.
        let mut times: Vec<f64> = known.values().map(|known| known.episode.last).collect();
        let (_, oldest, _) = times.select_nth_unstable_by(MOST / 100, f64::total_cmp);
        let oldest = *oldest;
        known.retain(|_, known| known.episode.last > oldest);
    }
}

/// Writes an episode to the store's file. One that can't be written is in memory all the same; the store
/// says why.
fn write(store: Option<&dyn Store>, episode: &Episode, t: f64) {
    let Some(store) = store else { return };
    let Episode { source, rules, first, last } = episode.clone();
    let rules = rules.join(" ");
    let before = t - SILENCE - MEMORY;
    let work = move |file: &rusqlite::Connection| {
        let put = "INSERT OR REPLACE INTO episode VALUES (?1, ?2, ?3, ?4)";
        file.prepare_cached(put)?.execute(params![source.to_string(), rules, first, last])?;
        file.prepare_cached("DELETE FROM episode WHERE last < ?1")?.execute([before]).map(drop)
    };
    if let Err(e) = store.change_aside(Box::new(work)) {
        log::error!("episode of {}: {e}", episode.source);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: f64 = 3600.0;

    #[test]
    fn an_episode_goes_on_while_its_source_fails() {
        let (episodes, rule) = (Episodes::default(), Arc::from("password_spray"));
        let ip: IpAddr = "192.0.2.1".parse().unwrap();
        let net: IpNet = "192.0.2.0/24".parse().unwrap();
        let start = 1_700_000_000.0;
        assert_eq!(episodes.find(Some(ip), Some(net), start), None);
        let (episode, is_new) = episodes.open(None, Source::Ip(ip), &rule, start);
        assert!(is_new);
        assert_eq!(episode.id(), "192.0.2.1@1700000000");
        episodes.touch(None, Some(ip), Some(net), start + 20.0 * HOUR);
        let later = start + 40.0 * HOUR;
        assert!(!episodes.open(None, Source::Ip(ip), &rule, later).1, "it was not silent for a day");
        assert!(episodes.is_open_within(net, later));
        let (over, gone) = (start + 45.0 * HOUR, start + 69.0 * HOUR);
        assert_eq!(episodes.find(Some(ip), None, over).unwrap().first, start, "over, but remembered");
        assert!(!episodes.is_open_within(net, over));
        assert_eq!(episodes.find(Some(ip), None, gone), None);
        assert!(episodes.open(None, Source::Ip(ip), &rule, gone).1);
    }

    #[test]
    fn a_network_stands_for_its_addresses() {
        let (episodes, rule) = (Episodes::default(), Arc::from("password_spray"));
        let net: IpNet = "192.0.2.0/24".parse().unwrap();
        episodes.open(None, Source::Net(net), &rule, 1e9);
        assert!(episodes.find("192.0.2.7".parse().ok(), Some(net), 1e9).is_some());
        assert!(episodes.find("192.0.2.7".parse().ok(), None, 1e9).is_none());
    }

    #[test]
    fn those_that_were_silent_longest_make_room() {
        let (episodes, rule) = (Episodes::default(), Arc::from("password_spray"));
        let ip = |number: u32| IpAddr::from(number.to_be_bytes());
        for number in 0..=MOST as u32 {
            episodes.open(None, Source::Ip(ip(number)), &rule, 1e9 + f64::from(number) / 100.0);
        }
        let count = episodes.known.lock().len();
        assert!(count <= MOST && count > MOST * 98 / 100, "{count}");
        let end = 1e9 + MOST as f64 / 100.0;
        assert!(episodes.find(Some(ip(0)), None, end).is_none());
        assert!(episodes.find(Some(ip(MOST as u32)), None, end).is_some());
    }
}
