//! What requests are served from: the configuration's pools, limits and counters. A site is frozen;
//! what changes while running is in `Shared`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use log::Level;

use secrecy::ExposeSecret;

use crate::config::{Ack, Config, HttpLimits};
use crate::http::auth::is_authorized;
use crate::http::handlers::{self, Call, Reaction};
use crate::http::intake::Intake;
use crate::http::request::Head;
use crate::http::response::Answer;
use crate::http::routes::{self, ROUTES, Target};
use crate::http::web::Ticket;
use crate::shared::{Shared, Subject};
use crate::stats::Counter;
use crate::worker::Pools;

/// How often wrong passwords of one address are logged: guessing must not fill the log.
const PASSWORD_INTERVAL: Duration = Duration::from_secs(10);

/// Characters of a path that a line about a wrong password has.
const PATH: usize = 100;

/// What requests are served from.
pub struct Site {
    pub shared: Arc<Shared>,
    pub pools: Arc<Pools>,
    /// The way of reports through the store, if there is one.
    pub intake: Option<Intake>,
    pub ack: Ack,
    pub limits: HttpLimits,
    /// A counter for each entry of [`ROUTES`].
    counters: Vec<Arc<Counter>>,
}

impl Site {
    pub fn new(config: &Config, shared: Arc<Shared>, pools: Arc<Pools>, intake: Option<Intake>) -> Site {
        let counters = ROUTES.iter().map(|route| shared.stats.command(route.name)).collect();
        let (ack, limits) = (config.report_ack, config.http.clone());
        Site { shared, pools, intake, ack, limits, counters }
    }

    /// What a request calls, if the client may; before any of its body is looked at.
    pub fn open(&self, head: &Head, peer: SocketAddr, now: Instant) -> Result<Target, Answer> {
        routes::open(self, head).inspect_err(|answer| {
            if answer.status == 401 {
                self.shared.stats.metrics.auth_failures.inc();
                // It is kept, for each of many addresses.
                let path: String = head.path.chars().take(PATH).collect();
                let line = format!(
                    "WforceWebserver: HTTP(S) Request \"{path}\" from {peer}: Web Authentication failed"
                );
                let subject = Subject::Password(peer.ip());
                self.shared.complaints.log(subject, Level::Warn, PASSWORD_INTERVAL, line, now);
            }
        })
    }

    /// Whether an `Authorization` field holds the password.
    pub fn is_authorized(&self, field: Option<&[u8]>) -> bool {
        let password = self.shared.password();
        is_authorized(field, password.as_deref().map(ExposeSecret::expose_secret))
    }

    /// What tells the delivery of a request from others, where that matters.
    pub fn delivery(&self, head: &Head) -> Option<Box<[u8]>> {
        self.intake.as_ref().and(head.delivery).map(Into::into)
    }

    /// Runs what a request calls.
    pub fn run(
        &self,
        target: &Target,
        delivery: Option<Box<[u8]>>,
        body: &[u8],
        ticket: &Ticket,
    ) -> Reaction {
        let query = match target {
            Target::BuiltIn { query, .. } => query,
            Target::Endpoint(_) => "",
        };
        let call = Call { site: self, query, body, delivery, ticket };
        match target {
            Target::BuiltIn { index, .. } => {
                self.counters[*index].count();
                (ROUTES[*index].run)(&call)
            }
            // The head may have come while another site was served.
            Target::Endpoint(name) => match self.shared.endpoint(name) {
                Some(counter) => {
                    counter.count();
                    handlers::endpoint(&call, name)
                }
                None => Reaction::Now(routes::not_found()),
            },
        }
    }
}
