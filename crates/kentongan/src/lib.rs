//! The Socket.IO server library.
