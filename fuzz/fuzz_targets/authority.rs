#![no_main]

use libfuzzer_sys::{arbitrary::Unstructured, fuzz_target};
use reset_gateway::properties::authority;

fuzz_target!(|bytes: &[u8]| drop(authority(&mut Unstructured::new(bytes))));
