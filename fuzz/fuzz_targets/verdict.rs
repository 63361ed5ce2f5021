#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| reset_gateway::properties::verdict(bytes));
