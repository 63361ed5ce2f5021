#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| reset_gateway::properties::retry_after(bytes));
