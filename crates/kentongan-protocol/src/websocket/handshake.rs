//! (handshake)
