#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| verve_fuzz::batch::check_text(bytes));
