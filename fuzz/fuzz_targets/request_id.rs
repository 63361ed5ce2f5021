#![no_main]

use libfuzzer_sys::{arbitrary::Unstructured, fuzz_target};
use reset_gateway::properties::request_id;

fuzz_target!(|bytes: &[u8]| drop(request_id(&mut Unstructured::new(bytes))));
