//! History into a store, out of it, and past the policies, as lines of JSON: `--import`, `--export` and
//! `--replay`. What a line is made of is
//! up to `store::line`, and what is remembered of a file to the store.

mod export;
mod import;
mod input;
mod progress;
mod reading;
mod replay;

pub use export::{Output, export};
pub use import::{Import, Tally};
pub use input::Input;
pub use replay::{Player, Replay, Stage};

#[cfg(test)]
mod tests;
