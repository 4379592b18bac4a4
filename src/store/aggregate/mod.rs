//! What reports add up to. Nothing here knows how it is kept.

mod days;
mod distinct;
pub mod failures;
pub mod memory;
pub mod platform;
mod sketch;
pub mod source;
mod stays;
mod tally;
pub mod window;

/// Numbers as a good hash spreads them (SplitMix64).
#[cfg(test)]
fn hash(number: u64) -> u64 {
    let mut x = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}
