#![no_main]

use libfuzzer_sys::{arbitrary::Unstructured, fuzz_target};
use reset_gateway::properties::text;

fuzz_target!(|bytes: &[u8]| drop(text(&mut Unstructured::new(bytes))));
