#![no_main]

use libfuzzer_sys::{arbitrary::Unstructured, fuzz_target};
use reset_gateway::properties::request_id;

fuzz_target!(|bytes: &[u8]| {
    // Too few bytes are no finding.
    let _ = request_id(&mut Unstructured::new(bytes));
});
