//! (deflate)
