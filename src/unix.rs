//! What the program asks of the operating system beyond std. Here are processor time, signals,
//! threads, the terminal, and the only unsafe code beside `lua/`; each other matter has a file.

mod background;
mod identity;
mod limits;
mod pid_file;
mod systemd;

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use nix::sys::pthread::{Pthread, pthread_kill, pthread_self};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::signal::Signal;
use nix::sys::termios::{SetArg, Termios, tcgetattr, tcsetattr};
use nix::sys::time::TimeValLike;
use nix::unistd::{ForkResult, dup2_stdout, fork};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};
use signal_hook::iterator::Signals;

use crate::error::{Error, Result};

pub use background::daemonize;
pub use identity::{Account, Identity, find_group};
pub use limits::{give_up, lua_stack, raise_file_limit, raise_stack_limit};
pub use nix::unistd::Gid as GroupId;
pub use pid_file::PidFile;
pub use systemd::{
    notify_ready, notify_reloading, notify_status, notify_stopping, notify_watchdog, watchdog_interval,
};

/// Forks; whether this is the process that did.
#[allow(unsafe_code)]
fn is_parent() -> Result<bool> {
    // SAFETY: the process has one thread, so the child may do anything.
    match unsafe { fork() }.map_err(system("fork"))? {
        ForkResult::Parent { .. } => Ok(true),
        ForkResult::Child => Ok(false),
    }
}

fn system(what: &'static str) -> impl FnOnce(nix::Error) -> Error {
    move |e| Error::Io(PathBuf::from(what), e.into())
}

/// A signal that the daemon acts on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    Stop,
    Reload,
    LogStats,
}

/// The signals that the process gets from now on, as they come.
pub fn requests() -> Result<impl Iterator<Item = Request>> {
    let signals = Signals::new([SIGTERM, SIGINT, SIGHUP, SIGUSR1]).map_err(Error::io("signals"))?;
    Ok(Forever(signals))
}

struct Forever(Signals);

impl Iterator for Forever {
    type Item = Request;

    fn next(&mut self) -> Option<Request> {
        self.0.forever().next().map(|signal| match signal {
            SIGHUP => Request::Reload,
            SIGUSR1 => Request::LogStats,
            _ => Request::Stop,
        })
    }
}

/// A running thread.
pub type ThreadId = Pthread;

/// Interrupts a thread that runs Lua. Nobody else sends or needs it: a socket that has out-of-band
/// data raises it only for a process that asked for that (fcntl(2), `F_SETOWN`).
pub const INTERRUPT: i32 = signal_hook::consts::SIGURG;

/// The thread that calls this.
pub fn current_thread() -> ThreadId {
    pthread_self()
}

/// Sends a signal to a thread, which must be alive.
pub fn send_signal(thread: ThreadId, signal: i32) {
    if let Ok(signal) = Signal::try_from(signal) {
        let _ = pthread_kill(thread, signal);
    }
}

/// Calls `action` in whatever thread gets `signal`. It must do only what signal-safety(7) allows.
#[allow(unsafe_code)]
pub fn on_signal(signal: i32, action: fn()) -> Result<()> {
    // SAFETY: the callers of this function pass actions that are safe in a signal handler.
    unsafe { signal_hook::low_level::register(signal, action) }.map(drop).map_err(Error::io("sigaction"))
}

/// Makes a write beyond the limit of file sizes (`ulimit -f`) an error like that of a full disk, not
/// the end of the process.
pub fn survive_file_size_limit() -> Result<()> {
    // Commands that the policy starts have the signal as it was, which they would not if it were ignored.
    on_signal(signal_hook::consts::SIGXFSZ, || {})
}

/// What this machine calls itself.
pub fn host_name() -> String {
    let name = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok());
    name.filter(|name| !name.is_empty()).unwrap_or_else(|| "localhost".into())
}

/// Starts a thread.
pub fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>> {
    thread::Builder::new().name(name.into()).spawn(run).map_err(Error::io("thread"))
}

/// Names the thread that calls this, as `top -H` shows it; Linux keeps 15 bytes.
pub fn name_thread(name: &str) {
    #[cfg(target_os = "linux")]
    if let Ok(name) = CString::new(name) {
        let _ = nix::sys::prctl::set_name(&name);
    }
}

/// Standard output for data alone: what anybody else prints goes to standard error from now on.
pub fn take_stdout() -> Result<File> {
    let stream = io::stdout().as_fd().try_clone_to_owned().map_err(Error::io("stdout"))?;
    dup2_stdout(io::stderr()).map_err(system("dup2"))?;
    Ok(stream.into())
}

/// Puts the terminal back as it was: a process that ends while a line is edited leaves it raw.
pub struct Terminal(Option<Termios>);

impl Terminal {
    pub fn keep() -> Terminal {
        Terminal(tcgetattr(io::stdin()).ok())
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if let Some(settings) = &self.0 {
            let _ = tcsetattr(io::stdin(), SetArg::TCSANOW, settings);
        }
    }
}

/// Gives memory that is free but kept back to the system, where the C library can do so.
#[allow(unsafe_code)]
pub fn trim_memory() {
    // SAFETY: malloc_trim(3) takes a number, and the locks that it needs itself.
    #[cfg(target_env = "gnu")]
    unsafe {
        nix::libc::malloc_trim(0)
    };
}

/// The processor time that the process has used: in its own code, and in the system's for it.
pub fn cpu_times() -> (Duration, Duration) {
    let Ok(usage) = getrusage(UsageWho::RUSAGE_SELF) else { return Default::default() };
    let duration =
        |time: nix::sys::time::TimeVal| Duration::from_micros(time.num_microseconds().unsigned_abs());
    (duration(usage.user_time()), duration(usage.system_time()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_of_the_processor_is_counted() {
        let (user, system) = cpu_times();
        assert!(user + system > Duration::ZERO);
    }
}
