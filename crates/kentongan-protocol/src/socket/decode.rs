//! (decode)
