//! **trackalert** takes a report for every login of a mail platform, runs each through Lua, and
//! raises alerts on abuse.
//!
//! The modules form rows; each uses those of the rows below alone, which `tests/layers.rs` checks:
//!
//! ```text
//! lib > daemon > http, schedule, console, transfer > worker > lua > shared > alert, episode > store, webhook
//!     > login, device, config, geoip, stats > outbound > net, clock, cron, cli, logger, reply, unix > error
//! ```
//!
//! The life of a report: `http::accept` takes the connection and checks the ACL · a web thread
//! (`http::web`) reads bytes, inside TLS or not (`http::wire`), into the connection's state
//! (`http::connection`) until a head (`http::request`) and its body are whole · `http::routes` finds
//! the command and checks the password · `http::handlers` makes a `login::LoginTuple` of the JSON
//! and puts it in the queue of the report pool (`worker`) · the web thread answers `{"status":"ok"}`
//! · a report thread parses what the client said of itself (`device`), shows the report to the policies
//! and calls the function of the configuration in its own Lua state (`lua`).
//!
//! With a report store (`store`) the report is written first, and answered when that is on disk. Policies ask
//! the store, open episodes (`episode`) and raise alerts (`alert`), which decides who hears of them, and when.
//! `transfer` moves reports of the past into a store, out of it, and past the policies.
//!
//! The main thread (`daemon`) runs the configuration first, which fills `config::Config`, starts
//! what that asks for, and then hears signals and console commands. What threads share while running
//! is in `shared::Shared`. A configuration that is read again makes all of this anew beside the old
//! (`daemon::generation`), and takes its place when nothing can fail any more (`daemon::reload`).

mod alert;
mod cli;
mod clock;
mod config;
mod console;
mod cron;
mod daemon;
mod device;
mod episode;
mod error;
mod geoip;
mod http;
mod logger;
mod login;
mod lua;
#[cfg(test)]
mod manual;
mod net;
mod outbound;
#[doc(hidden)]
pub mod probe;
mod reply;
mod schedule;
mod shared;
mod stats;
mod store;
mod transfer;
mod unix;
mod webhook;
mod worker;

use std::env;
use std::io::{self, Write};
use std::process::ExitCode;

use crate::cli::Action;
use crate::error::{Error, Result};

/// The program: 0 when it did what it was asked to, 1 when that failed, 2 for a bad command line,
/// 78 for a bad configuration.
pub fn main() -> ExitCode {
    unix::raise_stack_limit();
    let result = cli::parse(env::args_os().skip(1)).and_then(run);
    log::logger().flush();
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            let hint = if matches!(e, Error::Usage(_)) { "\nTry trackalert -h." } else { "" };
            let message = e.to_string();
            let message = console::shown(&message, &io::stderr());
            // There is nowhere else to say it.
            let _ = writeln!(io::stderr(), "trackalert: {message}{hint}");
            ExitCode::from(e.status())
        }
    }
}

fn run(action: Action) -> Result<()> {
    // Before there is a secret.
    unix::give_up()?;
    match action {
        Action::Help => print(&cli::usage()),
        Action::Version => print(&daemon::version()?),
        Action::Check(options) => daemon::check(&options),
        Action::Import(options, from) => daemon::import(&options, &from),
        Action::Export(options, to) => daemon::export(&options, &to),
        Action::Replay(options, replay) => daemon::replay(&options, &replay),
        Action::Repair(file) => print(&store::repair(&file)?),
        Action::Console(options) => daemon::connect(&options, &mut io::stdout())?.run(),
        Action::Execute(options, command) => daemon::connect(&options, &mut io::stderr())?.execute(&command),
        Action::Serve(options) => daemon::run(&options),
    }
}

fn print(text: &str) -> Result<()> {
    io::stdout().write_all(text.as_bytes()).map_err(Error::io("stdout"))
}
