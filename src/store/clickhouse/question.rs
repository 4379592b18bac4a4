//! The questions of [`Reader`](crate::store::query::Reader) in the language of the server. Counts of the
//! last days are made of the reports themselves; older ones, and what is remembered of a login, of the
//! tables that add up.
//!
//! `uniq` is exact for far more than 64 and errs by less than 1 % beyond 65 536.

use crate::store::clickhouse::quote::Quoted;
use crate::store::clickhouse::row::{COLUMNS, micros, span};
use crate::store::clickhouse::schema::PERIOD;
use crate::store::query::{
    By, DAY, Dimension, FINE_HOURS, HOUR, Part, ReportQuery, Source, TopQuery, Whose, Window,
};
use crate::store::record::Seconds;
use crate::store::usual::Past;

/// When a login succeeded, by period; from where and with which passwords, the latest first.
pub fn profile(login: &str, places: usize, pwhashes: usize) -> String {
    let login = Quoted(login);
    let latest = |kind, limit| {
        format!(
            "SELECT kind, value, toUInt32(0) AS day_bits, minMerge(first) AS first_ok,
                maxMerge(last) AS last_ok, argMaxMerge(place) AS at
            FROM memory WHERE origin = '' AND login = {login} AND kind = '{kind}'
            GROUP BY kind, value ORDER BY last_ok DESC, value LIMIT {limit}"
        )
    };
    format!(
        "SELECT kind, value, groupBitOrMerge(days) AS day_bits, minMerge(first) AS first_ok,
            maxMerge(last) AS last_ok, '' AS at
        FROM memory WHERE origin = '' AND login = {login} AND kind = 'login' GROUP BY kind, value, period
        UNION ALL SELECT * FROM ({}) UNION ALL SELECT * FROM ({})",
        latest("place", places),
        latest("pwhash", pwhashes)
    )
}

/// The values of a dimension of a login that were used last, or one of them; those with a success first.
pub fn values(login: &str, dimension: Dimension, value: Option<&str>, limit: usize) -> String {
    let is_it = value.map_or_else(String::new, |value| format!("AND value = {}", Quoted(value)));
    format!(
        "SELECT value, sum(oks) AS ok_sum, sum(fails) AS fail_sum, groupArray(bits) AS day_bits,
            min(first_ok) AS first_sum, max(last_ok) AS last_sum, max(last_use) AS use_sum
        FROM (
            SELECT value, period, sumMerge(ok) AS oks, sumMerge(fail) AS fails, groupBitOrMerge(days) AS bits,
                minMerge(first) AS first_ok, maxMerge(last) AS last_ok, maxMerge(used) AS last_use
            FROM memory WHERE origin = '' AND login = {} AND kind = '{}' {is_it} GROUP BY value, period
        ) GROUP BY value ORDER BY ok_sum > 0 DESC, use_sum DESC, value LIMIT {limit}",
        Quoted(login),
        dimension.name()
    )
}

/// Whether a window reaches back to where counts by the hour must do.
fn is_long(window: Window) -> bool {
    window.end.saturating_sub(window.start) > (FINE_HOURS + 1) * HOUR
}

/// The reports of a window.
fn within(window: Window) -> String {
    let Window { start, end } = window;
    format!("second >= {start} AND second < {end} AND day >= {} AND day <= {}", start / DAY, end / DAY)
}

/// The hours that begin in a window.
fn hours_within(window: Window) -> String {
    let Window { start, end } = window;
    let period = |t: Seconds| t / DAY / PERIOD;
    format!("hour >= {start} AND hour < {end} AND period >= {} AND period <= {}", period(start), period(end))
}

pub fn login_failures(login: &str, window: Window) -> String {
    let login = Quoted(login);
    if is_long(window) {
        return format!(
            "SELECT sumMerge(attempts) AS fails, uniqIfMerge(nets) AS net_count,
                uniqIfMerge(asns) AS asn_count, uniqIfMerge(countries) AS country_count, uniqIfMerge(pwhashes) AS pwhash_count
            FROM failure WHERE origin = '' AND login = {login} AND {}",
            hours_within(window)
        );
    }
    format!(
        "SELECT count() AS fails, uniqIf(net, net != '') AS net_count, uniqIf(asn, asn != 0) AS asn_count,
            uniqIf(country, country != '') AS country_count, uniqIf(pwhash, pwhash != '') AS pwhash_count
        FROM report WHERE origin = '' AND login = {login} AND outcome > 1 AND {}",
        within(window)
    )
}

/// The visits from a source.
fn is_from(source: Source) -> String {
    let (first, last) = span(source);
    let is_net = match source {
        Source::Ip(_) => String::new(),
        Source::Net(net) => format!("AND net = {}", Quoted(&net.to_string())),
    };
    format!("address >= '{first}' AND address <= '{last}' {is_net}")
}

pub fn source(source: Source, window: Window) -> String {
    format!(
        "SELECT sum(fails) AS fail_sum, sum(oks) AS ok_sum, sum(unknowns) AS unknown_sum,
            countIf(fails > 0) AS failed, countIf(oks > 0) AS passed, countIf(fails = 1) AS spread_1,
            countIf(fails = 2) AS spread_2, countIf(fails IN (3, 4)) AS spread_3,
            countIf(fails > 4 AND fails < 9) AS spread_5, countIf(fails > 8) AS spread_9
        FROM (
            SELECT login, countIf(outcome > 1) AS fails, countIf(outcome = 1) AS oks,
                countIf(outcome = 3) AS unknowns
            FROM visit WHERE origin = '' AND {} AND {}
            GROUP BY login
        )",
        is_from(source),
        within(window)
    )
}

/// The logins that failed, for each window in which some did.
pub fn usual(source: Source, past: Past) -> String {
    let whole = past.whole();
    format!(
        "SELECT uniq(login) AS failed FROM visit WHERE origin = '' AND outcome > 1 AND {} AND {}
        GROUP BY intDiv({} - second, {})",
        is_from(source),
        within(whole),
        whole.end - 1,
        past.width()
    )
}

pub fn reports(query: &ReportQuery) -> String {
    let since = micros(query.since);
    let day = query.since.max(0.0) as Seconds / DAY;
    let is_success = query.success.map_or_else(String::new, |ok| format!("AND success = {}", u8::from(ok)));
    let is_asked = format!("t >= {since} AND day >= {day} {is_success}");
    let order = format!("ORDER BY t DESC, number LIMIT {}", query.limit);
    let is_whose = match &query.whose {
        Whose::Login(login) => format!("login = {}", Quoted(login)),
        // The one table is in the order of addresses, the other has the reports.
        Whose::Ip(ip) => {
            let (address, _) = span(Source::Ip(*ip));
            format!(
                "(login, second) IN (SELECT login, second FROM visit WHERE origin = ''
                    AND address = '{address}' AND {is_asked} {order}) AND ip = '{ip}'"
            )
        }
    };
    format!("SELECT {COLUMNS} FROM report WHERE origin = '' AND {is_whose} AND {is_asked} {order}")
}

pub fn top(query: &TopQuery) -> String {
    let (count, window) = (count_of(query.success), query.window);
    let rank = format!(
        "HAVING {count} > 0 AND login_count >= {} ORDER BY {count} DESC, name LIMIT {}",
        query.min_logins, query.limit
    );
    let outcome = if query.success == Some(true) { "outcome = 1" } else { "outcome > 1" };
    let visits = |column| {
        format!(
            "SELECT {column} AS name, countIf(outcome > 1) AS fails, countIf(outcome = 1) AS oks,
                uniqIf(login, {outcome}) AS login_count
            FROM visit WHERE origin = '' AND {column} != '' AND {} GROUP BY {column} {rank}",
            within(window)
        )
    };
    let parts = |part: Part| {
        format!(
            "SELECT value AS name, sumMerge(fail) AS fails, sumMerge(ok) AS oks,
                uniqMerge(logins) AS login_count
            FROM platform WHERE origin = '' AND part = '{}' AND {} GROUP BY value {rank}",
            part.name(),
            hours_within(window.in_hours())
        )
    };
    match query.by {
        By::Ip => visits("ip"),
        By::Net => visits("net"),
        By::Login if is_long(window) => format!(
            "SELECT login AS name, sumMerge(attempts) AS fails, 0 AS oks, 1 AS login_count
            FROM failure WHERE origin = '' AND {} GROUP BY login {rank}",
            hours_within(window)
        ),
        By::Login => format!(
            "SELECT login AS name, count() AS fails, 0 AS oks, 1 AS login_count
            FROM report WHERE origin = '' AND outcome > 1 AND {} GROUP BY login {rank}",
            within(window)
        ),
        By::Asn => parts(Part::Asn),
        By::Country => parts(Part::Country),
        By::Device => parts(Part::Device),
    }
}

/// What is ranked by.
fn count_of(success: Option<bool>) -> &'static str {
    match success {
        Some(true) => "oks",
        Some(false) => "fails",
        None => "(oks + fails)",
    }
}

pub fn platform(part: Part, value: &str, window: Window) -> String {
    format!(
        "SELECT sumMerge(ok) AS oks, sumMerge(fail) AS fails, uniqMerge(logins) AS login_count,
            uniqIfMerge(ips) AS ip_count
        FROM platform WHERE origin = '' AND part = '{}' AND value = {} AND {}",
        part.name(),
        Quoted(value),
        hours_within(window.in_hours())
    )
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use crate::config::ClickHouse;
    use crate::outbound::Tls;
    use crate::store::clickhouse::client::{Client, rows};
    use crate::store::clickhouse::server::Server;

    #[test]
    fn a_distinct_count_is_exact_up_to_64_and_errs_little_beyond() {
        #[derive(Deserialize)]
        struct Found {
            whole: u64,
            merged: u64,
        }
        let Some(server) = Server::start() else { return };
        let client = Client::new(&ClickHouse::parse(&server.url()).unwrap(), &Tls::default()).unwrap();
        client.make_database().unwrap();
        for count in [0, 1, 63, 64, 65, 10_000, 1_000_000] {
            let login = "concat('user', toString(number), '@example.com')";
            let numbers = format!("(SELECT number FROM system.numbers LIMIT {count})");
            let ask = format!(
                "SELECT sum(part) AS whole, uniqMerge(state) AS merged FROM (
                    SELECT uniq({login}) AS part, uniqState({login}) AS state FROM {numbers}
                    UNION ALL SELECT toUInt64(0) AS part, uniqState({login}) AS state FROM {numbers})"
            );
            let found: Vec<Found> = rows(&client.ask(&ask).unwrap()).unwrap();
            assert_eq!(found[0].whole, found[0].merged, "what is in both parts counts once");
            let most = if count <= 64 { 0 } else { count / 50 };
            assert!(found[0].whole.abs_diff(count) <= most, "{} of {count}", found[0].whole);
        }
    }
}
