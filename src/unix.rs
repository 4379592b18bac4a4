//! What the program asks of the operating system beyond std: going to the background, the pid file,
//! signals, limits, thread names, systemd. The only unsafe code beside `lua/`.

mod identity;

use std::ffi::CString;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, PipeReader, PipeWriter, Read, Write, pipe};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use nix::sys::pthread::{Pthread, pthread_kill, pthread_self};
use nix::sys::resource::{RLIM_INFINITY, Resource, UsageWho, getrlimit, getrusage, setrlimit};
use nix::sys::signal::Signal;
use nix::sys::stat::{Mode, umask};
use nix::sys::termios::{SetArg, Termios, tcgetattr, tcsetattr};
use nix::sys::time::TimeValLike;
use nix::unistd::{ForkResult, dup2_stderr, dup2_stdin, dup2_stdout, fork, setsid};
use sd_notify::NotifyState;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};
use signal_hook::iterator::Signals;

use crate::error::{Error, Result};

pub use identity::{Account, Identity, find_group};
pub use nix::unistd::Gid as GroupId;

/// A daemon that is starting, and the process that waits for it.
pub struct Starting(PipeWriter);

/// Goes to the background: fork, setsid, fork, /dev/null on the standard streams, umask 022.
///
/// Returns in two processes. In the daemon with the way to tell how the start went; in the process
/// that was called, when it has been told, with nothing or with the daemon's error. There must be
/// no other thread yet.
pub fn daemonize() -> Result<Option<Starting>> {
    let (reader, writer) = pipe().map_err(Error::io("pipe"))?;
    if is_parent()? {
        drop(writer);
        return wait_for_start(reader).map(|()| None);
    }
    drop(reader);
    setsid().map_err(system("setsid"))?;
    if is_parent()? {
        std::process::exit(0);
    }
    let null = OpenOptions::new().read(true).write(true).open("/dev/null").map_err(Error::io("/dev/null"))?;
    dup2_stdin(&null)
        .and_then(|()| dup2_stdout(&null))
        .and_then(|()| dup2_stderr(&null))
        .map_err(system("dup2"))?;
    umask(Mode::from_bits_truncate(0o022));
    Ok(Some(Starting(writer)))
}

/// Forks; whether this is the process that did.
#[allow(unsafe_code)]
fn is_parent() -> Result<bool> {
    // SAFETY: the process has one thread, so the child may do anything.
    match unsafe { fork() }.map_err(system("fork"))? {
        ForkResult::Parent { .. } => Ok(true),
        ForkResult::Child => Ok(false),
    }
}

/// The daemon sends its exit status and its error, or a 0 when it is up.
fn wait_for_start(mut reader: PipeReader) -> Result<()> {
    let mut answer = Vec::new();
    reader.read_to_end(&mut answer).map_err(Error::io("pipe"))?;
    match answer.split_first() {
        Some((0, _)) => Ok(()),
        Some((78, text)) => Err(Error::Config(String::from_utf8_lossy(text).into_owned())),
        Some((_, text)) => Err(Error::Refused(String::from_utf8_lossy(text).into_owned())),
        None => Err(Error::Refused("the daemon ended before it was up".into())),
    }
}

impl Starting {
    /// Says that the daemon is up.
    pub fn up(mut self) {
        // Nobody reads it when the caller was killed meanwhile; the daemon is up all the same.
        let _ = self.0.write_all(&[0]);
    }

    /// Says why the daemon could not start.
    pub fn failed(mut self, error: &Error) {
        let _ = self.0.write_all(&[error.status()]);
        let _ = self.0.write_all(error.to_string().as_bytes());
    }
}

fn system(what: &'static str) -> impl FnOnce(nix::Error) -> Error {
    move |e| Error::Io(PathBuf::from(what), e.into())
}

/// A file with the number of this process, locked while the process lives and removed at the end.
#[derive(Debug)]
pub struct PidFile {
    path: PathBuf,
    /// Its lock is the one that counts; the number is for people.
    file: File,
}

impl PidFile {
    /// Writes and locks `path`; fails when another process holds it.
    pub fn create(path: &Path) -> Result<PidFile> {
        let path = std::path::absolute(path).map_err(Error::io(path))?;
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false).mode(0o644);
        let mut file = options.open(&path).map_err(Error::io(&path))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(Error::Refused(format!("{}: another instance is running", path.display())));
            }
            Err(TryLockError::Error(e)) => return Err(Error::Io(path, e)),
        }
        file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id())).map_err(Error::io(&path))?;
        Ok(PidFile { path, file })
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        // In a folder of root's, whoever root has become can at least see to it that the number, which
        // another process may get, is not there any more.
        if std::fs::remove_file(&self.path).is_err() {
            let _ = self.file.set_len(0);
        }
    }
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

/// Raises the limit of open files as far as the system allows, and says how many there may be.
pub fn raise_file_limit() -> u64 {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return 1024 };
    match setrlimit(Resource::RLIMIT_NOFILE, hard, hard) {
        Ok(()) => hard,
        Err(_) => soft,
    }
}

/// Bytes of stack for a thread that runs Lua. What a function calls through C, at worst a
/// `string.gsub` whose function calls it again, takes 11 KiB there each time until LuaJIT's own stack
/// is full, and beyond the end the process ends. Untouched, it is only address space.
const LUA_STACK: u64 = 96 << 20;

/// The same where address space is limited (`ulimit -v`, softlimit of daemontools).
const SMALL_LUA_STACK: u64 = 8 << 20;

/// How much stack a thread that runs Lua gets, in bytes.
pub fn lua_stack() -> usize {
    let space = getrlimit(Resource::RLIMIT_AS).map_or(RLIM_INFINITY, |(soft, _)| soft);
    let stack = if space == RLIM_INFINITY { LUA_STACK } else { SMALL_LUA_STACK };
    usize::try_from(stack).unwrap_or(usize::MAX)
}

/// Lets the stack of the main thread, which runs Lua as well, grow as large.
pub fn raise_stack_limit() {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_STACK) else { return };
    let wanted = LUA_STACK.min(hard);
    if soft < wanted {
        // Most never need it.
        let _ = setrlimit(Resource::RLIMIT_STACK, wanted, hard);
    }
}

/// What every process of this program gives up at its beginning: core dumps, and privileges that
/// programs which it runs could bring. It must have one thread; those that it starts are no different.
pub fn give_up() -> Result<()> {
    #[cfg(target_os = "linux")]
    nix::sys::prctl::set_no_new_privs().map_err(system("no_new_privs"))?;
    setrlimit(Resource::RLIMIT_CORE, 0, 0).map_err(system("core dumps"))?;
    protect_memory()
}

/// Keeps the secrets in memory from core dumps and from other processes, but root's. The limit does
/// not keep the system from piping a dump to a program: core(5).
fn protect_memory() -> Result<()> {
    #[cfg(target_os = "linux")]
    nix::sys::prctl::set_dumpable(false).map_err(system("dumpable"))?;
    Ok(())
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

/// Tells systemd that the daemon is up, if systemd wants to know.
pub fn notify_ready() {
    notify(&[NotifyState::Ready]);
}

/// Tells systemd that the configuration is being read again; [`notify_ready`] ends that.
pub fn notify_reloading() {
    // The time goes with it, as sd_notify(3) asks for.
    match NotifyState::monotonic_usec_now() {
        Ok(now) => notify(&[NotifyState::Reloading, now]),
        Err(_) => notify(&[NotifyState::Reloading]),
    }
}

/// Tells systemd that the daemon is about to end.
pub fn notify_stopping() {
    notify(&[NotifyState::Stopping]);
}

/// Tells systemd that the daemon still works.
pub fn notify_watchdog() {
    notify(&[NotifyState::Watchdog]);
}

/// What `systemctl status` shows.
pub fn notify_status(text: &str) {
    notify(&[NotifyState::Status(text)]);
}

/// How often systemd wants to hear that the daemon works.
pub fn watchdog_interval() -> Option<Duration> {
    sd_notify::watchdog_enabled()
}

fn notify(states: &[NotifyState]) {
    if let Err(e) = sd_notify::notify(states) {
        log::debug!("systemd can't be notified: {e}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pid_file_admits_one_and_goes_away() {
        let path = std::env::temp_dir().join(format!("trackalert-{}.pid", std::process::id()));
        std::fs::write(&path, "99999999 left by a crash").unwrap();
        let held = PidFile::create(&path).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), format!("{}\n", std::process::id()));
        let error = PidFile::create(&path).unwrap_err();
        assert!(error.to_string().ends_with("another instance is running"), "{error}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), format!("{}\n", std::process::id()));
        drop(held);
        assert!(!path.exists());
        let missing = PidFile::create(Path::new("/nonexistent/x.pid")).unwrap_err();
        assert_eq!(missing.to_string(), "/nonexistent/x.pid: no such file or directory");
    }

    #[test]
    fn time_of_the_processor_is_counted() {
        let (user, system) = cpu_times();
        assert!(user + system > Duration::ZERO);
    }
}
