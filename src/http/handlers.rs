//! What the commands do. None waits: what needs Lua becomes a job, whose outcome is sent to the web
//! thread that owns the connection.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use serde_json::{Map, Value, json};

use crate::config::Ack;
use crate::http::response::Answer;
use crate::http::site::Site;
use crate::http::web::Ticket;
use crate::login::{Attributes, LoginTuple};
use crate::unix;
use crate::worker::{Job, Outcome, Reply};

/// A request that was let in.
pub struct Call<'a> {
    pub site: &'a Site,
    /// Empty for commands that need none.
    pub query: &'a str,
    pub body: &'a [u8],
    /// What the sender calls this delivery of it.
    pub delivery: Option<Box<[u8]>>,
    /// Where an answer that comes later goes.
    pub ticket: &'a Ticket,
}

/// What a command makes of a request.
pub enum Reaction {
    Now(Answer),
    /// Another thread has been asked; it sends the answer to the call's ticket.
    Later,
}

/// Queues a report for the report function.
pub fn report(call: &Call) -> Reaction {
    let login = match LoginTuple::from_json(call.body, SystemTime::now()) {
        Ok(login) => login,
        Err(e) => return Reaction::Now(Answer::failure(400, &reason(&e))),
    };
    if let Some(intake) = &call.site.intake {
        return intake.take(call, login);
    }
    let login = Arc::new(login);
    let is_later = call.site.ack == Ack::Done;
    let job = || Job::Report { login, known: None, reply: is_later.then(|| reply(call.ticket, reported)) };
    let stats = &call.site.shared.stats;
    if call.site.pools.report.push(job).is_err() {
        stats.metrics.rejected.inc();
        return Reaction::Now(busy(Answer::failure(503, "report queue is full")));
    }
    stats.count_report();
    if is_later { Reaction::Later } else { Reaction::Now(Answer::OK) }
}

/// Counts since the start and of the last five minutes.
pub fn stats(call: &Call) -> Reaction {
    let stats = &call.site.shared.stats;
    let (user, system) = unix::cpu_times();
    let object = |counts: Vec<(String, u64)>| -> Map<String, Value> {
        counts.into_iter().map(|(name, count)| (name, count.into())).collect()
    };
    Reaction::Now(Answer::json(
        200,
        &json!({
            "reports": stats.reports(),
            "user-msec": user.as_millis() as u64,
            "sys-msec": system.as_millis() as u64,
            "uptime": stats.uptime().as_secs(),
            "perfstats": object(stats.perf_stats()),
            "commandstats": object(stats.command_stats()),
            "customstats": object(stats.custom_stats()),
        }),
    ))
}

/// Everything for Prometheus.
pub fn metrics(call: &Call) -> Reaction {
    let (metrics, load) = (&call.site.shared.stats.metrics, call.site.pools.load());
    metrics.report_queue.set(load.reports as i64);
    metrics.web_queue.set(load.calls as i64);
    metrics.stuck.set(load.stuck as i64);
    metrics.webhook_queue.set(call.site.shared.webhooks.len() as i64);
    Reaction::Now(Answer::metrics(metrics.text()))
}

/// Whether the daemon answers at all.
pub fn livez(_: &Call) -> Reaction {
    Reaction::Now(Answer::EMPTY)
}

/// Whether the daemon can do its work.
pub fn readyz(call: &Call) -> Reaction {
    let trouble = || call.site.intake.as_ref().and_then(|intake| intake.store.trouble());
    Reaction::Now(match call.site.pools.check() {
        Err(e) => Answer::failure(503, &e.to_string()),
        Ok(()) => {
            trouble().map_or(Answer::EMPTY, |_| Answer::failure(503, "the report store can't be written"))
        }
    })
}

/// Has the function of a custom endpoint called.
pub fn endpoint(call: &Call, name: &Arc<str>) -> Reaction {
    let attrs = match Attributes::from_json(call.body) {
        Ok(attrs) => attrs,
        Err(e) => return Reaction::Now(Answer::endpoint_failure(400, &reason(&e))),
    };
    let job = || Job::Endpoint { name: name.clone(), attrs, reply: reply(call.ticket, answered) };
    match call.site.pools.endpoint.push(job) {
        Ok(()) => Reaction::Later,
        Err(_) => Reaction::Now(busy(Answer::endpoint_failure(503, "too many calls wait already"))),
    }
}

pub fn busy(answer: Answer) -> Answer {
    answer.with_header("Retry-After", "1")
}

/// A reply that sends what `answer` makes of the outcome to the connection that waits for it.
fn reply(ticket: &Ticket, answer: fn(Outcome) -> Answer) -> Reply {
    let ticket = ticket.clone();
    Reply::new(move |outcome| ticket.answer(answer(outcome)))
}

pub fn reported(outcome: Outcome) -> Answer {
    match outcome {
        Outcome::Failed(reason) => Answer::failure(500, &reason),
        Outcome::Done | Outcome::Answered { .. } => Answer::OK,
    }
}

fn answered(outcome: Outcome) -> Answer {
    match outcome {
        Outcome::Answered { success, attrs } => {
            let attrs: BTreeMap<String, String> = attrs.into_iter().collect();
            Answer::json(200, &json!({ "success": success, "r_attrs": attrs }))
        }
        Outcome::Failed(reason) => Answer::endpoint_failure(500, &reason),
        Outcome::Done => Answer::endpoint_failure(500, "no answer"),
    }
}

/// What is wrong with a body. Where it is stands there for bad syntax only: a bad value is found
/// by its name.
pub fn reason(e: &serde_json::Error) -> String {
    let text = e.to_string();
    match text.rfind(" at line ") {
        Some(place) if e.is_data() => text[..place].to_owned(),
        _ => text,
    }
}
