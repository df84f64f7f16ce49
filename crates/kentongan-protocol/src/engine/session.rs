//! The Engine.IO session.
