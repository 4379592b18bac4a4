//! The function that has a wforce refuse the sources of alerts. What becomes of an alert there is up to
//! `alert`.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::config::{Config, Receiver, Severity, WforceSettings};
use crate::cron::parse_duration;
use crate::error::{Error, Result};
use crate::lua::alert::{add_receiver, named};
use crate::lua::api::{FILE, Func, func};
use crate::lua::options::Options;

#[rustfmt::skip] // A function has three lines: what it is called with, its help, what it does.
pub static FUNCS: &[Func] = &[
    func!(FILE, addWforceBlocklist(options: Options),
        "Have a wforce refuse the sources of alerts for a time.",
        |_lua, cx| add(&mut cx.config.borrow_mut(), &options)),
];

/// The entries within an hour, unless somebody says how many, and at most.
const MOST: u32 = 20;
const LIMIT: usize = 10_000;

/// How long an entry is there, likewise.
const EXPIRE: &str = "24:00";
const LONGEST: Duration = Duration::from_secs(30 * 86_400);

fn add(config: &mut Config, options: &Options) -> Result<()> {
    options.allow(&["url", "password", "expire", "max_per_hour", "rules", "private"])?;
    let url = WforceSettings::parse_url(&options.get::<String>("url")?).map_err(|e| named("url", &e))?;
    let password = options.get::<String>("password")?;
    if password.is_empty() {
        return Err(Error::Refused("password: is empty".into()));
    }
    let expire = options.get::<Option<String>>("expire")?;
    let expire = expire_of(expire.as_deref().unwrap_or(EXPIRE)).map_err(|e| named("expire", &e))?;
    let most = options.get_within("max_per_hour", 1..=LIMIT)?;
    let rules: BTreeSet<String> = options.get::<Vec<String>>("rules")?.into_iter().collect();
    if rules.is_empty() || rules.contains("") {
        return Err(Error::Refused("rules: names of rules expected, got none".into()));
    }
    let settings = WforceSettings {
        url,
        password: password.into(),
        expire,
        max_per_hour: most.map_or(MOST, |most| most as u32),
        rules,
        is_private: options.get::<Option<bool>>("private")?.unwrap_or_default(),
    };
    // The rules say which alerts count.
    add_receiver(config, Receiver::Wforce(settings), Severity::Info)
}

fn expire_of(text: &str) -> Result<Duration> {
    let expire = parse_duration(text)?;
    if expire < Duration::from_secs(60) || expire > LONGEST {
        return Err(Error::Refused(format!("from 0:01 to {}:00 expected", LONGEST.as_secs() / 3600)));
    }
    Ok(expire)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use secrecy::ExposeSecret;

    use super::*;
    use crate::config::SinkSettings;
    use crate::lua::failure::Failure;
    use crate::lua::{Role, Script, State};

    fn sinks(options: &str) -> std::result::Result<Vec<SinkSettings>, String> {
        let script = Script::of(&format!("addWforceBlocklist{{ {options} }}"));
        let state = State::new(Arc::default(), Role::Config, Some(&script));
        Ok(state.map_err(|e| Failure::new(&e).message)?.config().sinks)
    }

    const LEAST: &str = "url = 'http://127.0.0.1:8084/', password = 's3cret', rules = { 'spray', 'mine' }";

    #[test]
    fn a_blocklist_is_read_with_its_defaults() {
        let of = |options: &str| {
            let sinks = sinks(options).unwrap();
            let [SinkSettings { receiver, min_severity }] = &sinks[..] else { panic!("{sinks:?}") };
            let Receiver::Wforce(wforce) = receiver.clone() else { panic!("{sinks:?}") };
            (receiver.name(), *min_severity, wforce)
        };
        let (name, least, wforce) = of(LEAST);
        assert_eq!((name.as_str(), least), ("wforce:http://127.0.0.1:8084", Severity::Info));
        assert_eq!((wforce.expire.as_secs(), wforce.max_per_hour, wforce.is_private), (86_400, 20, false));
        assert_eq!(Vec::from_iter(&wforce.rules), ["mine", "spray"]);
        assert_eq!(wforce.password.expose_secret(), "s3cret");
        assert!(!format!("{wforce:?}").contains("s3cret"));
        let (_, _, wforce) = of(&format!("{LEAST}, expire = '720:00', max_per_hour = 3, private = true"));
        assert_eq!((wforce.expire, wforce.max_per_hour, wforce.is_private), (LONGEST, 3, true));
    }

    #[test]
    fn an_option_that_can_not_be_is_named_without_the_password() {
        let with = |more: &str| format!("{LEAST}, {more}");
        for (options, error) in [
            ("", "url: string expected, got nil"),
            ("url = 'http://u:s3cret@x/'", "url: http or https URL without a user and a query expected"),
            ("url = 'http://x/'", "password: string expected, got nil"),
            ("url = 'http://x/', password = ''", "password: is empty"),
            ("url = 'http://x/', password = { 's3cret' }", "password: string expected, got table"),
            ("url = 'http://x/', password = 's3cret'", "rules: list of strings expected, got nil"),
            (
                "url = 'http://x/', password = 's3cret', rules = {}",
                "rules: names of rules expected, got none",
            ),
            (
                "url = 'http://x/', password = 's3cret', rules = { '' }",
                "rules: names of rules expected, got none",
            ),
            (
                "url = 'http://x/', password = 's3cret', rules = 'spray'",
                "rules: list of strings expected, got string",
            ),
            (&with("expire = '0:00'"), "expire: from 0:01 to 720:00 expected"),
            (&with("expire = '720:01'"), "expire: from 0:01 to 720:00 expected"),
            (&with("expire = '1d'"), "expire: \"1d\" is not a duration, hours[:minutes[:seconds]]"),
            (&with("max_per_hour = 0"), "max_per_hour: from 1 to 10000 expected, got 0"),
            (&with("private = 'yes'"), "private: boolean expected, got string"),
            (
                &with("rule = 'x'"),
                "no key named \"rule\": there are url, password, expire, max_per_hour, rules and private",
            ),
        ] {
            let expected = format!("test.conf:1: addWforceBlocklist(options): {error}");
            assert_eq!(sinks(options).err(), Some(expected), "{options}");
        }
        let twice = format!("{LEAST} }} addWforceBlocklist{{ {LEAST}");
        let error = sinks(&twice).unwrap_err();
        assert!(error.ends_with("there is a sink for wforce:http://127.0.0.1:8084 already"), "{error}");
    }
}
