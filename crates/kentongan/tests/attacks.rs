//! What a hostile peer may try, row by row, beside two hundred clients that must not notice.
//!
//! Every row is held to the same five rules ([`arena::attack`]): no panic, bounded memory that comes back, descriptors
//! that come back, healthy clients that get each of their echoes and each broadcast once and in order, and a refusal that
//! is counted. The rows and what they answer are listed in `docs/attacks.md`.

#![allow(
    clippy::unwrap_used,
    reason = "a helper that fails is a test that fails"
)]

mod support;

#[path = "attacks/arena.rs"]
mod arena;
#[path = "attacks/attacker.rs"]
mod attacker;
#[path = "attacks/engine_rows.rs"]
mod engine_rows;
#[path = "attacks/frame_rows.rs"]
mod frame_rows;
#[path = "attacks/healthy.rs"]
mod healthy;
#[path = "attacks/http_rows.rs"]
mod http_rows;
#[path = "attacks/packet_rows.rs"]
mod packet_rows;
