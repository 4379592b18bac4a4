//! What must hold of the parts that read what strangers write, whatever that is: one function for
//! each fuzz target of `tests/fuzz`, which `tests/regression.rs` calls too. Each panics when its
//! property does not hold, and makes of an input the same every time.

#![allow(clippy::unwrap_used)]

mod clock;
mod console;
mod cron;
mod device;
mod http;
mod netmask;
mod regexes;
mod report;
mod rules;

pub use console::console;
pub use cron::cron;
pub use device::device;
pub use http::http;
pub use netmask::netmask;
pub use regexes::regexes;
pub use report::report;

/// A property, by the name of its fuzz target.
pub type Property = (&'static str, fn(&[u8]));

/// Every property.
pub static ALL: &[Property] = &[
    ("console", console),
    ("cron", cron),
    ("device", device),
    ("http", http),
    ("netmask", netmask),
    ("regexes", regexes),
    ("report", report),
];

/// Numbers that look random and depend on the input alone.
struct Random(u64);

impl Random {
    fn of(data: &[u8]) -> Random {
        // FNV-1a; the lowest bit keeps the state from being 0.
        let hash = data.iter().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
        });
        Random(hash | 1)
    }

    /// A number below `end`.
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end.max(1) as u64) as usize
    }

    /// The data in pieces of up to `longest` bytes.
    fn pieces<'a>(&mut self, mut data: &'a [u8], longest: usize) -> Vec<&'a [u8]> {
        let mut pieces = Vec::new();
        while !data.is_empty() {
            let (piece, rest) = data.split_at((1 + self.below(longest)).min(data.len()));
            pieces.push(piece);
            data = rest;
        }
        pieces
    }
}
