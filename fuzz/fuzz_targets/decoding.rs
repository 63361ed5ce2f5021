#![no_main]

use libfuzzer_sys::{arbitrary::Unstructured, fuzz_target};
use reset_gateway::properties::decoding;

fuzz_target!(|bytes: &[u8]| drop(decoding(&mut Unstructured::new(bytes))));
