//! Engine.IO bytes.
