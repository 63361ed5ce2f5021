#![no_main]

use libfuzzer_sys::{arbitrary::Unstructured, fuzz_target};
use reset_gateway::properties::response;

fuzz_target!(|bytes: &[u8]| drop(response(&mut Unstructured::new(bytes))));
