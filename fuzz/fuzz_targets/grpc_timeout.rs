#![no_main]

use libfuzzer_sys::{arbitrary::Unstructured, fuzz_target};
use reset_gateway::properties::grpc_timeout;

fuzz_target!(|bytes: &[u8]| {
    // Too few bytes are no finding.
    let _ = grpc_timeout(&mut Unstructured::new(bytes));
});
