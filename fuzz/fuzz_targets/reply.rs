//! See `fuzz/targets.rs`.

#![no_main]

use colony_gateway_fuzz::targets;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| targets::reply(data));
