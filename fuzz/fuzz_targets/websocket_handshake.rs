//! The WebSocket handshake against arbitrary headers.
//!
//! Only the entry: the body is in `kentongan_testkit::fuzz`, where stable tests replay the corpus through it too.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| kentongan_testkit::fuzz::websocket_handshake(data));
