#![no_main]

use libfuzzer_sys::{arbitrary::Unstructured, fuzz_target};
use reset_gateway::properties::response;

fuzz_target!(|bytes: &[u8]| {
    // Too few bytes are no finding.
    let _ = response(&mut Unstructured::new(bytes));
});
