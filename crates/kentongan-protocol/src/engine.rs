//! Engine.IO protocol revision 4: packets, polling payloads, and the session that survives a change of transport.

pub mod packet;
pub mod payload;
pub mod session;
