//! Every test that runs the program, as one binary.

#![allow(clippy::unwrap_used)] // A test that can't go on should end.

/// Imports flow one way only.
mod layers;
