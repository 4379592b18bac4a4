//! The way of a report through the store: it is written first, then acknowledged, and then it runs with
//! what was known before it.

use std::sync::Arc;

use crate::config::Ack;
use crate::error::Error;
use crate::http::handlers::{Call, Reaction, busy, reported};
use crate::http::response::Answer;
use crate::login::LoginTuple;
use crate::store::{self, Arrival, Enrich, Fate, Known, Store};
use crate::worker::{Job, Reply};

/// The way into the store.
pub struct Intake {
    pub store: Arc<dyn Store>,
    pub enrich: Enrich,
    /// Whether an answer means that the report is on disk.
    pub is_durable: bool,
}

impl Intake {
    /// Sends a report to the store. `delivery` is what its sender calls this delivery of it.
    pub fn take(&self, call: &Call, mut login: LoginTuple) -> Reaction {
        let site = call.site;
        // There is a place for what the store accepts.
        let Ok(slot) = site.pools.report.reserve() else {
            site.shared.stats.metrics.rejected.inc();
            return Reaction::Now(busy(Answer::failure(503, "report queue is full")));
        };
        login.parse_device(|protocol, text| site.shared.devices.parse(protocol, text));
        let record = Arc::new(self.enrich.record(&login));
        let login = Arc::new(login);
        // Who waits for the store, and who for the report function as well.
        let waits = self.is_durable || site.ack == Ack::Done;
        let (is_durable, is_done) = (self.is_durable, site.ack == Ack::Done);
        let (store, shared, pools) = (self.store.clone(), site.shared.clone(), site.pools.clone());
        let (ticket, plain) = (call.ticket.clone(), (login.clone(), record.clone()));
        let answer = move |fate: Result<Fate, Error>| {
            let (login, known, id) = match fate {
                Ok(Fate::Stored(stored)) => (stored.login, stored.known, Some(stored.id)),
                // It has been answered before, or will be.
                Ok(Fate::Known) if waits => return ticket.answer(Answer::OK),
                Ok(Fate::Known) => return,
                Err(_) if is_durable => {
                    return ticket.answer(busy(Answer::failure(503, "the report store can't be written")));
                }
                // It runs without history.
                Err(_) => (plain.0, Known { record: plain.1, before: None }, None),
            };
            shared.stats.count_report();
            let done = is_done.then(|| ticket.clone());
            let reply = Reply::new(move |outcome| {
                id.into_iter().for_each(|id| store.has_run(id));
                if let Some(ticket) = done {
                    ticket.answer(reported(outcome));
                }
            });
            pools.report.push_reserved(slot, Job::Report { login, known: Some(known), reply: Some(reply) });
            if is_durable && !is_done {
                ticket.answer(Answer::OK);
            }
        };
        // An empty name tells nothing apart.
        let delivery = call.delivery.clone().filter(|delivery| !delivery.is_empty());
        let body = call.body.to_vec();
        self.store.push(Arrival { record, login, body, delivery, answer: store::Answer::new(answer) });
        if waits { Reaction::Later } else { Reaction::Now(Answer::OK) }
    }
}
