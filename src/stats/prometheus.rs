//! The metrics of `/metrics`: one table of names, labels and help, from which they are made and
//! which the manual page is held against. The names that the original has are the original's.

use prometheus::core::Collector;
use prometheus::process_collector::ProcessCollector;
use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
};
use prometheus::{TextEncoder, proto::Metric, proto::MetricFamily};

use crate::stats::latency::BOUNDS;

/// A kind of metric, made of an entry of the table.
trait Kind: Collector + Clone + Sized + 'static {
    fn make(name: &str, labels: &[&str], help: &str) -> prometheus::Result<Self>;
}

impl Kind for IntCounter {
    fn make(name: &str, _: &[&str], help: &str) -> prometheus::Result<Self> {
        IntCounter::new(name, help)
    }
}

impl Kind for IntCounterVec {
    fn make(name: &str, labels: &[&str], help: &str) -> prometheus::Result<Self> {
        IntCounterVec::new(Opts::new(name, help), labels)
    }
}

impl Kind for IntGauge {
    fn make(name: &str, _: &[&str], help: &str) -> prometheus::Result<Self> {
        IntGauge::new(name, help)
    }
}

impl Kind for IntGaugeVec {
    fn make(name: &str, labels: &[&str], help: &str) -> prometheus::Result<Self> {
        IntGaugeVec::new(Opts::new(name, help), labels)
    }
}

impl Kind for Histogram {
    fn make(name: &str, _: &[&str], help: &str) -> prometheus::Result<Self> {
        let bounds = BOUNDS.iter().map(|bound| bound.as_secs_f64()).collect();
        Histogram::with_opts(HistogramOpts::new(name, help).buckets(bounds))
    }
}

/// How long policies run: most of them some microseconds.
const POLICY_BOUNDS: [f64; 6] = [0.000_01, 0.000_1, 0.001, 0.01, 0.1, 1.0];

impl Kind for HistogramVec {
    fn make(name: &str, labels: &[&str], help: &str) -> prometheus::Result<Self> {
        HistogramVec::new(HistogramOpts::new(name, help).buckets(POLICY_BOUNDS.into()), labels)
    }
}

/// Declares [`Metrics`] and its table: each metric is written once.
macro_rules! metrics {
    ($($field:ident: $kind:ident = $name:literal [$($label:literal),*] $help:literal;)*) => {
        /// Every metric of ours.
        pub struct Metrics {
            $(pub $field: $kind,)*
            registry: Registry,
        }

        /// Name, labels and help of every metric of ours.
        #[cfg(test)]
        const TABLE: &[(&str, &[&str], &str)] = &[$(($name, &[$($label),*], $help)),*];

        impl Metrics {
            fn make(registry: Registry) -> prometheus::Result<Metrics> {
                $(
                    let $field = <$kind as Kind>::make($name, &[$($label),*], $help)?;
                    registry.register(Box::new($field.clone()))?;
                )*
                Ok(Metrics { $($field,)* registry })
            }
        }
    };
}

metrics! {
    commands: IntCounterVec = "trackalert_commands_total" ["cmd"]
        "Requests for each command.";
    custom: IntCounterVec = "trackalert_custom_stats_total" ["metric"]
        "Counts of each custom counter.";
    queue_duration: Histogram = "trackalert_worker_queue_duration_seconds" []
        "Seconds that jobs waited for a Lua thread.";
    response_duration: Histogram = "trackalert_worker_response_duration_seconds" []
        "Seconds that jobs ran in a Lua thread.";
    connections: IntGauge = "trackalert_active_http_connections" []
        "HTTP connections that are open.";
    web_queue: IntGauge = "trackalert_web_queue_size" []
        "Calls of custom endpoints that wait for a Lua thread.";
    report_queue: IntGauge = "trackalert_report_queue_size" []
        "Reports that wait for a Lua thread.";
    rejected: IntCounter = "trackalert_reports_rejected_total" []
        "Reports that were answered 503 because the queue was full.";
    lua_errors: IntCounterVec = "trackalert_lua_errors_total" ["kind"]
        "Failures of Lua functions.";
    background_skipped: IntCounterVec = "trackalert_background_skipped_total" ["name"]
        "Background functions that were due while they still ran.";
    stuck: IntGauge = "trackalert_lua_stuck" []
        "Lua threads whose call has not returned in time and can't be interrupted.";
    auth_failures: IntCounter = "trackalert_auth_failures_total" []
        "Requests with a wrong password or without one.";
    webhook_events: IntCounterVec = "trackalert_custom_webhook_events_total" ["id", "url", "status"]
        "Attempts to deliver each custom webhook, by outcome.";
    webhook_queue: IntGauge = "trackalert_webhook_queue_size" []
        "Deliveries of webhooks that wait.";
    webhook_dropped: IntCounter = "trackalert_webhook_dropped_total" []
        "Deliveries of webhooks that were given up because the queue was full.";
    store_rows: IntCounter = "trackalert_store_rows_total" []
        "Reports that were written to the store.";
    store_bytes: IntGauge = "trackalert_store_bytes" []
        "Bytes of the store's files.";
    store_queue: IntGauge = "trackalert_store_queue_size" []
        "Reports that wait to be written to the store.";
    store_commit: Histogram = "trackalert_store_commit_seconds" []
        "Seconds that the store's commits took.";
    store_errors: IntCounter = "trackalert_store_errors_total" []
        "Failures of the store.";
    alerts: IntCounterVec = "trackalert_alerts_total" ["rule", "severity", "outcome"]
        "Alerts that were raised, by what became of them.";
    alert_outbox: IntGaugeVec = "trackalert_alert_outbox" ["sink"]
        "Alerts that wait to be delivered to a sink.";
    alert_deliveries: IntCounterVec = "trackalert_alert_deliveries_total" ["sink", "status"]
        "Attempts to deliver alerts to a sink, by outcome.";
    policy_seconds: HistogramVec = "trackalert_policy_seconds" ["policy"]
        "Seconds that each policy ran, for a report or on schedule.";
    policy_errors: IntCounterVec = "trackalert_policy_errors_total" ["policy"]
        "Failures of each policy.";
    certificate_expiry: IntGaugeVec = "trackalert_certificate_expiry_seconds" ["listener"]
        "When the certificate of a listener expires, in seconds since 1970.";
    build_info: IntGaugeVec = "trackalert_build_info" ["version"]
        "The version, as a label of the number 1.";
}

/// The kinds of `trackalert_lua_errors_total`, all shown from the start.
const LUA_ERROR_KINDS: [&str; 4] = ["report", "endpoint", "background", "panic"];

impl Metrics {
    pub fn new() -> Metrics {
        let metrics = Metrics::make(Registry::new()).expect("the names of the table are valid and differ");
        metrics.build_info.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        for kind in LUA_ERROR_KINDS {
            metrics.lua_errors.with_label_values(&[kind]);
        }
        let process = ProcessCollector::for_self();
        metrics.registry.register(Box::new(process)).expect("process_* are no names of the table");
        metrics
    }

    /// Forgets the counters of webhooks whose id and URL are not wanted any more.
    pub fn retain_webhooks(&self, keeps: impl Fn(&str, &str) -> bool) {
        for [id, url, status] in label_values(&self.webhook_events, ["id", "url", "status"]) {
            if !keeps(&id, &url) {
                // It is there: these are the labels that it has.
                let _ = self.webhook_events.remove_label_values(&[id, url, status]);
            }
        }
    }

    /// Shows when the certificates of these listeners expire, and no others.
    pub fn show_expiries(&self, expiries: &[(String, u64)]) {
        for (listener, expiry) in expiries {
            let expiry = i64::try_from(*expiry).unwrap_or(i64::MAX);
            self.certificate_expiry.with_label_values(&[listener]).set(expiry);
        }
        for [listener] in label_values(&self.certificate_expiry, ["listener"]) {
            if !expiries.iter().any(|(shown, _)| *shown == listener) {
                let _ = self.certificate_expiry.remove_label_values(&[listener]);
            }
        }
    }

    /// All of them in Prometheus' text format, version 0.0.4.
    pub fn text(&self) -> String {
        let families: Vec<MetricFamily> = self.registry.gather();
        TextEncoder::new().encode_to_string(&families).unwrap_or_default()
    }
}

/// The values that the labels of a metric have.
fn label_values<const N: usize>(metrics: &impl Collector, names: [&str; N]) -> Vec<[String; N]> {
    let values = |metric: &Metric| {
        let label = |name: &str| metric.get_label().iter().find(|pair| pair.name() == name);
        names.map(|name| label(name).map_or("", |pair| pair.value()).to_owned())
    };
    metrics.collect().iter().flat_map(MetricFamily::get_metric).map(values).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manual;

    #[test]
    fn the_manual_has_every_metric_and_no_other() {
        let entry = |(name, labels, help): &(&str, &[&str], &str)| {
            let labels: String = labels.iter().map(|label| format!(" Ar {label}")).collect();
            (format!("Va {name}{labels}"), (*help).to_owned())
        };
        manual::check("trackalert_api.7", "Va", TABLE.iter().map(entry));
    }

    #[test]
    fn every_metric_of_the_table_is_in_the_text() {
        let metrics = Metrics::new();
        metrics.commands.with_label_values(&["a\"b\n"]).inc();
        metrics.custom.with_label_values(&["x"]).inc();
        metrics.background_skipped.with_label_values(&["x"]).inc();
        metrics.webhook_events.with_label_values(&["1", "http://example.com/", "ok"]).inc();
        metrics.policy_seconds.with_label_values(&["x"]).observe(1.0);
        metrics.policy_errors.with_label_values(&["x"]).inc();
        metrics.alerts.with_label_values(&["x", "high", "sent"]).inc();
        metrics.alert_outbox.with_label_values(&["x"]).inc();
        metrics.alert_deliveries.with_label_values(&["x", "ok"]).inc();
        metrics.show_expiries(&[("127.0.0.1:8443".into(), 1_795_000_000)]);
        let text = metrics.text();
        for (name, _, help) in TABLE {
            assert!(text.contains(&format!("# HELP {name} {help}\n# TYPE {name} ")), "{name} in {text}");
        }
        assert!(text.contains("trackalert_commands_total{cmd=\"a\\\"b\\n\"} 1"), "{text}");
        assert!(text.contains("process_open_fds"), "{text}");
    }

    #[test]
    fn only_listeners_that_are_there_have_an_expiry() {
        let metrics = Metrics::new();
        let [first, second] = [("192.0.2.1:443".to_owned(), 1), ("192.0.2.1:444".to_owned(), 2)];
        for shown in [vec![first.clone()], vec![first.clone(), second.clone()], vec![second], vec![]] {
            metrics.show_expiries(&shown);
            let text = metrics.text();
            let lines = text.lines().filter(|line| line.starts_with("trackalert_certificate_expiry_seconds"));
            let expected = shown.iter().map(|(listener, expiry)| {
                format!("trackalert_certificate_expiry_seconds{{listener=\"{listener}\"}} {expiry}")
            });
            assert!(lines.eq(expected), "{text}");
        }
    }
}
