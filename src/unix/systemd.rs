//! What systemd hears of the daemon, if it wants to: sd_notify(3).

use std::time::Duration;

use sd_notify::NotifyState;

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
