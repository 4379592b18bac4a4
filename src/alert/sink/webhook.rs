//! Alerts for a custom webhook, with the same headers as what a policy sends there.

use crate::alert::outbox::Parcel;
use crate::alert::sink::Failure;
use crate::webhook::{Failure as HookFailure, Hook};

/// Makes one attempt, which the receiver knows by its `name`.
pub fn deliver(hook: &Hook, name: &str, parcel: &Parcel) -> Result<(), Failure> {
    hook.attempt(name, parcel.body.as_bytes()).map_err(|failure| {
        let cause = failure.to_string();
        match failure {
            HookFailure::Status(status) if concerns_message(status) => Failure::Message(cause),
            HookFailure::Status(_) | HookFailure::NoAnswer(_) => Failure::Receiver(cause),
            HookFailure::NoRequest(_) => Failure::Message(cause),
        }
    })
}

/// Whether another message may fare better: the receiver is there, and not too busy.
fn concerns_message(status: u16) -> bool {
    (400..500).contains(&status) && ![408, 429].contains(&status)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_concerns_the_message_or_the_receiver() {
        for (status, expected) in [
            (302, false),
            (400, true),
            (404, true),
            (408, false),
            (413, true),
            (429, false),
            (500, false),
            (503, false),
        ] {
            assert_eq!(concerns_message(status), expected, "{status}");
        }
    }
}
