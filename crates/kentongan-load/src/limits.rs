//! Open files: every connection needs one.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::error::LoadError;

/// Raises the limit of open files to what the system lets us have.
///
/// # Errors
/// [`LoadError::Files`] if that is too few.
pub(crate) fn raise(connections: usize) -> Result<(), LoadError> {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    // If this fails, the limit that we have may do.
    let _ = setrlimit(Resource::Nofile, raised);
    match getrlimit(Resource::Nofile).current {
        Some(limit) if limit < connections as u64 + SPARE => Err(LoadError::Files {
            wanted: connections,
            limit,
        }),
        _ => Ok(()),
    }
}

/// Standard streams, epoll, `/proc`.
const SPARE: u64 = 32;
