//! A custom webhook as the configuration describes it, parsed to what a delivery needs, and the set of
//! them that one configuration has.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use prometheus::IntCounter;
use secrecy::SecretSlice;
use secrecy::zeroize::Zeroizing;
use ureq::http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};

use crate::error::{Error, Result};
use crate::logger::notice;
use crate::stats::Stats;
use crate::webhook::Settings;
use crate::webhook::url::Url;

/// The longest time-out of a delivery, which occupies a thread for as long.
pub const MAX_TIMEOUT: Duration = Duration::from_secs(3600);

/// The most retries: the wait before the last is nine hours.
const MAX_RETRIES: u32 = 16;

/// What the body of a delivery to Kafka's REST proxy is.
const KAFKA: &str = "application/vnd.kafka.json.v2+json";

/// A custom webhook.
pub struct Hook {
    pub id: u64,
    pub name: String,
    pub url: Url,
    /// Those that are the same for every delivery.
    pub headers: HeaderMap,
    pub secret: Option<SecretSlice<u8>>,
    pub is_kafka: bool,
    pub retries: u32,
    pub timeout: Option<Duration>,
    /// How it is delivered, known when the whole configuration is.
    pub settings: OnceLock<Arc<Settings>>,
    /// Deliveries that were taken, and attempts that failed.
    pub successes: IntCounter,
    pub failures: IntCounter,
}

/// What a configuration says of a hook, and how much of that it has said.
#[derive(Default)]
struct Keys {
    url: Option<Url>,
    url_credentials: Option<Zeroizing<String>>,
    credentials: Option<Zeroizing<String>>,
    secret: Option<SecretSlice<u8>>,
    api_key: Option<HeaderValue>,
    content_type: Option<HeaderValue>,
    is_kafka: bool,
    retries: u32,
    timeout: Option<Duration>,
}

impl Hook {
    /// Makes a hook of its keys. Those that it doesn't know are worth a warning.
    pub fn parse(id: u64, name: &str, keys: &[(String, Vec<u8>)], stats: &Stats) -> Result<Hook> {
        let event = header("name", name.as_bytes())?;
        if name.is_empty() {
            return Err(Error::Refused("name: must not be empty".into()));
        }
        let mut found = Keys::default();
        for (key, value) in keys {
            found.set(name, key, value)?;
        }
        let url = found.url.ok_or_else(|| Error::Refused("keys: url is missing".into()))?;
        let content_type = match found.content_type {
            _ if found.is_kafka => HeaderValue::from_static(KAFKA),
            Some(content_type) => content_type,
            None => HeaderValue::from_static("application/json"),
        };
        let mut headers = HeaderMap::new();
        headers.insert(HeaderName::from_static("x-wforce-event"), event);
        headers.insert(HeaderName::from_static("x-wforce-hookid"), HeaderValue::from(id));
        headers.insert(CONTENT_TYPE, content_type);
        if let Some(credentials) = found.credentials.or(found.url_credentials) {
            let field = Zeroizing::new(format!("Basic {}", *credentials));
            headers.insert(AUTHORIZATION, header("basic-auth", field.as_bytes())?);
        }
        if let Some(api_key) = found.api_key {
            headers.insert(HeaderName::from_static("x-api-key"), api_key);
        }
        let (number, public) = (id.to_string(), url.public());
        let counter =
            |status| stats.metrics.webhook_events.with_label_values(&[number.as_str(), &public, status]);
        Ok(Hook {
            id,
            name: name.to_owned(),
            url,
            headers,
            secret: found.secret,
            is_kafka: found.is_kafka,
            retries: found.retries,
            timeout: found.timeout,
            settings: OnceLock::new(),
            successes: counter("ok"),
            failures: counter("error"),
        })
    }
}

impl Keys {
    fn set(&mut self, name: &str, key: &str, value: &[u8]) -> Result<()> {
        match key {
            "url" => {
                let (url, credentials) = Url::parse(text(key, value)?)?;
                (self.url, self.url_credentials) = (Some(url), credentials);
            }
            "secret" => self.secret = Some(value.to_vec().into()),
            "basic-auth" if value.contains(&b':') => {
                self.credentials = Some(Zeroizing::new(STANDARD.encode(value)));
            }
            "basic-auth" => return Err(refused(key, "not a user name, a colon and a password")),
            "api-key" => self.api_key = Some(header(key, value)?),
            "content-type" => self.content_type = Some(header(key, value)?),
            "kafka" => match value {
                b"true" => self.is_kafka = true,
                b"false" => self.is_kafka = false,
                _ => return Err(refused(key, "neither \"true\" nor \"false\"")),
            },
            "retries" => self.retries = retries(text(key, value)?)?,
            "timeout" => self.timeout = Some(timeout(text(key, value)?)?),
            "num_conns" => {
                notice!("webhook \"{name}\": num_conns is ignored: see setNumWebHookConnsPerThread()");
            }
            _ => log::warn!("webhook \"{name}\": no key \"{key}\" is known"),
        }
        Ok(())
    }
}

/// Keys hold secrets: a complaint has their name, not their value.
fn refused(key: &str, why: &str) -> Error {
    Error::Refused(format!("{key}: {why}"))
}

fn text<'a>(key: &str, value: &'a [u8]) -> Result<&'a str> {
    str::from_utf8(value).map_err(|_| refused(key, "not UTF-8"))
}

/// The value of a header, in which nothing can end the line.
fn header(key: &str, value: &[u8]) -> Result<HeaderValue> {
    if value.iter().any(u8::is_ascii_control) {
        return Err(refused(key, "holds control characters"));
    }
    let mut header = HeaderValue::from_bytes(value).map_err(|_| refused(key, "no value of a header"))?;
    header.set_sensitive(true);
    Ok(header)
}

fn retries(text: &str) -> Result<u32> {
    let number = text.parse().ok().filter(|number| *number <= MAX_RETRIES);
    number.ok_or_else(|| refused("retries", &format!("not a whole number from 0 to {MAX_RETRIES}")))
}

fn timeout(text: &str) -> Result<Duration> {
    let seconds = text.parse().ok().filter(|seconds| *seconds > 0.0);
    let timeout = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    timeout.filter(|timeout| *timeout <= MAX_TIMEOUT).ok_or_else(|| {
        let most = MAX_TIMEOUT.as_secs();
        refused("timeout", &format!("not a number of seconds, more than 0 and at most {most}"))
    })
}

/// The hooks of a configuration. Each call of `addCustomWebHook` takes a number, as in the original.
#[derive(Default)]
pub struct Hooks {
    hooks: Vec<Arc<Hook>>,
    last_id: u64,
}

impl Hooks {
    /// Adds a hook, unless there is one of that name: the first counts.
    pub fn add(&mut self, name: &str, keys: &[(String, Vec<u8>)], stats: &Stats) -> Result<()> {
        self.last_id += 1;
        if self.find(name).is_some() {
            log::warn!("webhook \"{name}\" is there already: the further one is ignored");
            return Ok(());
        }
        self.hooks.push(Arc::new(Hook::parse(self.last_id, name, keys, stats)?));
        Ok(())
    }

    /// Says how all of them are delivered.
    pub fn set(&self, settings: Settings) {
        let settings = Arc::new(settings);
        for hook in &self.hooks {
            // Whoever says so first is right.
            let _ = hook.settings.set(settings.clone());
        }
    }

    pub fn find(&self, name: &str) -> Option<&Arc<Hook>> {
        self.hooks.iter().find(|hook| hook.name == name)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.hooks.len()
    }

    /// Whether the counters with these labels are of one of them.
    pub fn has_counter(&self, id: &str, url: &str) -> bool {
        self.hooks.iter().any(|hook| hook.id.to_string() == id && hook.url.public() == url)
    }

    /// Whether one of them needs TLS.
    pub fn has_https(&self) -> bool {
        self.hooks.iter().any(|hook| hook.url.is_https)
    }

    /// A heading and a line for each, as the console shows them.
    pub fn table(&self) -> String {
        let row = |id: &str, name: &str, ok: &str, failed: &str, url: &str| {
            format!("{id:<9} {name:<20.20} {ok:<9} {failed:<9} {url}\n")
        };
        let rows = self.hooks.iter().map(|hook| {
            let (ok, failed) = (hook.successes.get().to_string(), hook.failures.get().to_string());
            row(&hook.id.to_string(), &hook.name, &ok, &failed, &hook.url.public())
        });
        row("ID", "Name", "Successes", "Failures", "URL") + &rows.collect::<String>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(pairs: &[(&str, &str)]) -> Vec<(String, Vec<u8>)> {
        pairs.iter().map(|(key, value)| ((*key).into(), value.as_bytes().to_vec())).collect()
    }

    fn parse(name: &str, pairs: &[(&str, &str)]) -> Result<Hook> {
        Hook::parse(7, name, &keys(pairs), &Stats::new())
    }

    const URL: (&str, &str) = ("url", "http://u:p@example.com/");

    #[test]
    fn keys_become_headers() {
        for (pairs, headers) in [
            (&[URL][..], "application/json Basic dTpw -"),
            (&[URL, ("basic-auth", "user:pass"), ("api-key", "k")], "application/json Basic dXNlcjpwYXNz k"),
            (&[URL, ("content-type", "a/b")], "a/b Basic dTpw -"),
            (&[URL, ("content-type", "a/b"), ("kafka", "true")], &format!("{KAFKA} Basic dTpw -")),
            (
                &[URL, ("num_conns", "5"), ("nosuch", "\n"), ("kafka", "false")],
                "application/json Basic dTpw -",
            ),
        ] {
            let hook = parse("event", pairs).unwrap();
            let value = |name| hook.headers.get(name).map_or("-", |value| value.to_str().unwrap());
            let found = ["content-type", "authorization", "x-api-key"].map(value).join(" ");
            assert_eq!(found, headers, "{pairs:?}");
            assert_eq!((value("x-wforce-event"), value("x-wforce-hookid")), ("event", "7"));
        }
    }

    #[test]
    fn a_bad_key_is_named_without_its_value() {
        for (name, pairs, error) in [
            ("x", &[][..], "keys: url is missing"),
            ("", &[URL], "name: must not be empty"),
            ("a\r\nb", &[URL], "name: holds control characters"),
            ("x", &[("url", "secret")], "url: not an http or https URL"),
            ("x", &[URL, ("api-key", "a\r\nX-Injected: 1")], "api-key: holds control characters"),
            ("x", &[URL, ("content-type", "a\tb")], "content-type: holds control characters"),
            ("x", &[URL, ("basic-auth", "secret")], "basic-auth: not a user name, a colon and a password"),
            ("x", &[URL, ("kafka", "yes")], "kafka: neither \"true\" nor \"false\""),
            ("x", &[URL, ("retries", "-1")], "retries: not a whole number from 0 to 16"),
            ("x", &[URL, ("retries", "17")], "retries: not a whole number from 0 to 16"),
            ("x", &[URL, ("timeout", "0")], "timeout: not a number of seconds, more than 0 and at most 3600"),
            (
                "x",
                &[URL, ("timeout", "nan")],
                "timeout: not a number of seconds, more than 0 and at most 3600",
            ),
        ] {
            assert_eq!(parse(name, pairs).err().map(|e| e.to_string()), Some(error.into()), "{pairs:?}");
        }
        let hook = parse("x", &[URL, ("retries", "3"), ("timeout", "0.5")]).unwrap();
        assert_eq!((hook.retries, hook.timeout), (3, Some(Duration::from_millis(500))));
    }

    #[test]
    fn the_first_hook_of_a_name_counts_and_each_call_takes_a_number() {
        let (mut hooks, stats) = (Hooks::default(), Stats::new());
        for (name, url) in
            [("a", "http://a.example/"), ("a", "http://b.example/"), ("c", "https://c.example/")]
        {
            hooks.add(name, &keys(&[("url", url)]), &stats).unwrap();
        }
        hooks.find("c").unwrap().failures.inc();
        assert_eq!(
            hooks.table(),
            "ID        Name                 Successes Failures  URL\n\
             1         a                    0         0         http://a.example/\n\
             3         c                    0         1         https://c.example/\n"
        );
        assert!(hooks.has_https() && hooks.len() == 2 && hooks.find("b").is_none());
    }
}
