#![no_main]

use libfuzzer_sys::{arbitrary::Unstructured, fuzz_target};
use reset_gateway::properties::retry_after;

fuzz_target!(|bytes: &[u8]| {
    // Too few bytes are no finding.
    let _ = retry_after(&mut Unstructured::new(bytes));
});
