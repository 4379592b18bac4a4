//! Alerts for a custom webhook, with the same headers as what a policy sends there.

use crate::alert::outbox::Parcel;
use crate::alert::sink::{Failure, concerns_message};
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
