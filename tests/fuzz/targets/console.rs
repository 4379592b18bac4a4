#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| trackalert_fuzz::console(data));
