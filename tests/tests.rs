//! Every test that runs the program, as one binary.

#![allow(clippy::unwrap_used)] // A test that can't go on should end.

/// What the original does too.
mod compat;
/// What only this program does.
mod extra;
/// Faults done to the program for real.
mod faults;
/// Imports flow one way only.
mod layers;
/// The manual pages and the README.
mod pages;
/// The policies that are shipped.
mod policies;
/// What must hold whatever strangers write, for the fuzz targets and here.
mod properties;
/// What fuzzing found.
mod regression;
/// Supervisors and the init script.
mod supervise;
/// The running program and its clients.
mod support;
