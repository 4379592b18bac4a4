//! History into a store and out of it, as lines of JSON: `--import` and `--export`. What a line is made of is
//! up to `store::line`, and what is remembered of a file to the store.

mod export;
mod import;
mod input;
mod progress;

pub use export::{Output, export};
pub use import::{Import, Tally};
pub use input::Input;

#[cfg(test)]
mod tests;
