#![no_main]

use libfuzzer_sys::{arbitrary::Unstructured, fuzz_target};
use reset_gateway::properties::text;

fuzz_target!(|bytes: &[u8]| {
    // Too few bytes are no finding.
    let _ = text(&mut Unstructured::new(bytes));
});
