#![no_main]

use libfuzzer_sys::{arbitrary::Unstructured, fuzz_target};
use reset_gateway::properties::decoding;

fuzz_target!(|bytes: &[u8]| {
    // Too few bytes are no finding.
    let _ = decoding(&mut Unstructured::new(bytes));
});
