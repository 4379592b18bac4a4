//! What is served under which name: one table, which trackalert_api(7) is held against. Looking a
//! request up, the password and the counting happen once, around the table's functions.

use std::sync::Arc;

use tiny_http::Method;

use crate::http::alerts;
use crate::http::auth::CHALLENGE;
use crate::http::handlers::{self, Call, Reaction};
use crate::http::request::Head;
use crate::http::response::Answer;
use crate::http::site::Site;
use crate::shared::Shared;

/// Who may call a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Whoever the ACL admits.
    Open,
    /// Who knows the password.
    Password,
    /// The same, unless the configuration opens the metrics.
    Metrics,
}

/// A command that is built in.
pub struct Route {
    /// The one method, where GET stands for HEAD too.
    pub method: Method,
    pub name: &'static str,
    /// Whether `/NAME` is served.
    pub is_short: bool,
    /// Whether `/command/NAME` and `/?command=NAME` are served.
    pub is_command: bool,
    /// Whether the query says more than the command.
    pub has_query: bool,
    pub access: Access,
    /// One sentence, the first of the command's entry in the manual page.
    #[cfg(test)]
    pub help: &'static str,
    pub run: fn(&Call) -> Reaction,
}

/// Every command that is built in.
pub static ROUTES: &[Route] = &[
    Route {
        method: Method::Post,
        name: "report",
        is_short: false,
        is_command: true,
        has_query: false,
        access: Access::Password,
        #[cfg(test)]
        help: "Take the report of a login.",
        run: handlers::report,
    },
    Route {
        method: Method::Get,
        name: "stats",
        is_short: false,
        is_command: true,
        has_query: false,
        access: Access::Password,
        #[cfg(test)]
        help: "Tell what has been counted.",
        run: handlers::stats,
    },
    Route {
        method: Method::Get,
        name: "metrics",
        is_short: true,
        is_command: false,
        has_query: false,
        access: Access::Metrics,
        #[cfg(test)]
        help: "Give everything that is counted to Prometheus.",
        run: handlers::metrics,
    },
    Route {
        method: Method::Get,
        name: "livez",
        is_short: true,
        is_command: true,
        has_query: false,
        access: Access::Open,
        #[cfg(test)]
        help: "Tell whether the daemon answers.",
        run: handlers::livez,
    },
    Route {
        method: Method::Get,
        name: "readyz",
        is_short: true,
        is_command: true,
        has_query: false,
        access: Access::Open,
        #[cfg(test)]
        help: "Tell whether the daemon can do its work.",
        run: handlers::readyz,
    },
    Route {
        method: Method::Get,
        name: "alerts",
        is_short: false,
        is_command: true,
        has_query: true,
        access: Access::Password,
        #[cfg(test)]
        help: "List alerts, the latest first.",
        run: alerts::list,
    },
    Route {
        method: Method::Post,
        name: "ackAlert",
        is_short: false,
        is_command: true,
        has_query: false,
        access: Access::Password,
        #[cfg(test)]
        help: "Have an alert only counted until it is closed.",
        run: alerts::acknowledge,
    },
    Route {
        method: Method::Post,
        name: "closeAlert",
        is_short: false,
        is_command: true,
        has_query: false,
        access: Access::Password,
        #[cfg(test)]
        help: "Close an alert, so that what comes then is another one.",
        run: alerts::close,
    },
    Route {
        method: Method::Post,
        name: "silence",
        is_short: false,
        is_command: true,
        has_query: false,
        access: Access::Password,
        #[cfg(test)]
        help: "Let nobody hear of a rule, or of a key of it, for a time.",
        run: alerts::silence,
    },
];

/// What a request calls.
#[derive(Clone)]
pub enum Target {
    /// An entry of [`ROUTES`], with the query if it has one.
    BuiltIn { index: usize, query: Box<str> },
    /// A custom endpoint.
    Endpoint(Arc<str>),
}

impl Target {
    /// The one method that it may be called with.
    fn method(&self) -> &'static Method {
        match self {
            Target::BuiltIn { index, .. } => &ROUTES[*index].method,
            Target::Endpoint(_) => &Method::Post,
        }
    }

    fn access(&self) -> Access {
        match self {
            Target::BuiltIn { index, .. } => ROUTES[*index].access,
            Target::Endpoint(_) => Access::Password,
        }
    }
}

/// The target of a request that may call it, or what to answer instead.
pub fn open(site: &Site, head: &Head) -> Result<Target, Answer> {
    let target = find(&site.shared, head.path, head.query).ok_or_else(not_found)?;
    let is_open = match target.access() {
        Access::Open => true,
        Access::Metrics => site.shared.has_open_metrics(),
        Access::Password => false,
    };
    if !is_open && !site.is_authorized(head.authorization) {
        return Err(Answer::failure(401, "Unauthorized").with_header("WWW-Authenticate", CHALLENGE));
    }
    let method = target.method();
    let is_allowed = head.method == *method || *method == Method::Get && head.method == Method::Head;
    // A WebSocket is another protocol that begins with a GET: as wrong here as another method.
    if !is_allowed || head.is_websocket {
        let allowed = if *method == Method::Get { "GET, HEAD" } else { "POST" };
        return Err(Answer::failure(405, "Method not allowed").with_header("Allow", allowed));
    }
    Ok(target)
}

/// For what nobody serves.
pub fn not_found() -> Answer {
    Answer::failure(404, "Not found")
}

/// What a path and its query name.
fn find(shared: &Shared, path: &str, query: &str) -> Option<Target> {
    let built_in = |is_served: &dyn Fn(&Route) -> bool| {
        let index = ROUTES.iter().position(is_served)?;
        let query = if ROUTES[index].has_query { query.into() } else { Box::default() };
        Some(Target::BuiltIn { index, query })
    };
    let name = match path.strip_prefix("/command/") {
        Some(name) => name,
        None if path == "/" => query.split('&').find_map(|pair| pair.strip_prefix("command="))?,
        None => return built_in(&|route| route.is_short && path.strip_prefix('/') == Some(route.name)),
    };
    built_in(&|route| route.is_command && route.name == name)
        .or_else(|| shared.endpoint(name).map(|_| Target::Endpoint(Arc::from(name))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::BUILT_IN;
    use crate::manual;

    #[test]
    fn no_endpoint_can_have_the_name_of_a_route() {
        assert_eq!(ROUTES.iter().map(|route| route.name).collect::<Vec<_>>(), BUILT_IN);
    }

    #[test]
    fn the_manual_has_every_command_and_no_other() {
        let entry = |route: &Route| {
            let name = route.name;
            let command = [format!("Pa /command/{name}"), format!("Pa /?command={name}")];
            let paths: Vec<String> = command.into_iter().filter(|_| route.is_command).collect();
            let short = route.is_short.then(|| format!("Pa /{name}"));
            let paths: Vec<String> = paths.into_iter().chain(short).collect();
            (format!("Ic {} {}", route.method, paths.join(" , ")), route.help.to_owned())
        };
        manual::check("trackalert_api.7", "Ic", ROUTES.iter().map(entry));
    }

    #[test]
    fn a_path_names_a_command_or_nothing() {
        let shared = Shared::default();
        shared.add_endpoint("custom");
        for (path, query, expected) in [
            ("/command/report", "", "report"),
            ("/", "command=report", "report"),
            ("/", "foo=bar&command=report&x=1", "report"),
            ("/command/stats", "command=report", "stats"),
            ("/metrics", "", "metrics"),
            ("/command/metrics", "", ""),
            ("/livez", "", "livez"),
            ("/command/livez", "", "livez"),
            ("/", "command=readyz", "readyz"),
            ("/report", "", ""),
            ("/command/custom", "", "custom"),
            ("/", "command=custom", "custom"),
            ("/custom", "", ""),
            ("/command/CUSTOM", "", ""),
            ("/command/", "", ""),
            ("/command/stats/", "", ""),
            ("//command/stats", "", ""),
            ("/command/st%61ts", "", ""),
            ("/", "", ""),
            ("/", "foo=bar", ""),
            ("/index.html", "command=stats", ""),
            ("*", "", ""),
        ] {
            let found = match find(&shared, path, query) {
                Some(Target::BuiltIn { index, .. }) => ROUTES[index].name.to_owned(),
                Some(Target::Endpoint(name)) => name.to_string(),
                None => String::new(),
            };
            assert_eq!(found, expected, "{path}?{query}");
        }
    }
}
