//! What Lua threads are asked to do, and how they answer.

use std::sync::Arc;

use crate::login::{Attributes, LoginTuple};
use crate::reply::GivenUp;
use crate::store::Known;

/// Something for a Lua thread to do.
pub enum Job {
    /// Runs the policies and calls the report function, with what the store knows of the report.
    Report { login: Arc<LoginTuple>, known: Option<Known>, reply: Option<Reply> },
    /// Calls the function of a custom endpoint.
    Endpoint { name: Arc<str>, attrs: Attributes, reply: Reply },
    /// Calls a background function.
    Background { name: Arc<str>, reply: Reply },
    /// Does nothing: that it was run shows that the pool moves.
    Probe,
}

/// What became of a job that somebody waits for.
pub enum Outcome {
    /// The function has run, with or without an error of its own.
    Done,
    /// What the function of a custom endpoint returned.
    Answered { success: bool, attrs: Vec<(String, String)> },
    /// It could not be run to its end, for this reason.
    Failed(String),
}

/// Where the outcome of a job goes.
pub type Reply = crate::reply::Reply<Outcome>;

impl GivenUp for Outcome {
    fn given_up() -> Outcome {
        Outcome::Failed("the call was given up".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[test]
    fn a_job_that_is_given_up_is_answered() {
        let (send, outcomes) = mpsc::channel();
        drop(Reply::new(move |outcome| drop(send.send(outcome))));
        assert!(matches!(outcomes.recv().unwrap(), Outcome::Failed(_)));
    }
}
