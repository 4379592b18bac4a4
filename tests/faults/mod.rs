//! Each fault done for real to the real program, and what holds then. The section WHAT IT SURVIVES of
//! trackalert(1) names each of these tests.

/// Receivers of alerts that are away, and a daemon that is killed before they have them.
mod alerts;
/// That section against these files, both ways.
mod catalogue;
/// The clock put forward and back, and a process that stands still.
mod clock;
/// No file descriptors left.
mod descriptors;
/// `os.exit` in a policy.
mod exit;
/// Files that are cut, vanish or can't be read.
mod files;
/// More of something than anybody needs.
mod flood;
/// A log that takes nothing, goes away, or is full.
mod log;
/// Mistakes of a policy.
mod lua;
/// Little memory.
mod memory;
/// Clients that break off.
mod peers;
/// Receivers of webhooks that do not answer as they should.
mod receivers;
/// A report store whose disk is full, or whose file is locked, damaged or can't be had.
mod store;
/// No threads left.
mod threads;
