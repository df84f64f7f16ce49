//! Sessions at run time: the table of them, the state that HTTP requests and one task share, and that task.
//!
//! Owns everything between a transport and the application: waking, back-pressure, the order of packets. The decisions
//! are the protocol crate's state machine; this folder only carries them out.

mod drain;
pub(crate) mod driver;
pub(crate) mod engine;
mod flush;
pub(crate) mod flusher;
pub(crate) mod io;
pub(crate) mod rates;
pub(crate) mod raw;
pub(crate) mod shared;
pub(crate) mod slots;
pub(crate) mod table;
pub(crate) mod websocket;
