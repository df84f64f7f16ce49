//! Why a run could not be made. Faults of the server that were measured are no errors: they are in the report.

use std::{io, net::SocketAddr};

use thiserror::Error;

/// Why there is no report.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The URL is not `http://HOST[:PORT]` or `https://HOST[:PORT]`, or an option contradicts another.
    #[error("{0}")]
    Usage(String),
    /// The host has no address.
    #[error("{host} cannot be resolved: {source}")]
    Unresolved {
        /// As in the URL.
        host: String,
        /// What the resolver says.
        source: io::Error,
    },
    /// No TCP connection.
    #[error("no connection to {addr}: {source}. Is the server running, and is that its port?")]
    Connect {
        /// Where to.
        addr: SocketAddr,
        /// What the kernel says.
        source: io::Error,
    },
    /// The server answers, but not as a Socket.IO server does.
    #[error("the server refuses: {0}")]
    Refused(String),
    /// Connections stopped coming up.
    #[error("only {ready} of {wanted} connections came up, and no more in {seconds} s")]
    Stalled {
        /// Connections that are ready.
        ready: usize,
        /// Connections that were asked for.
        wanted: usize,
        /// How long nothing changed.
        seconds: u64,
    },
    /// Not enough file descriptors.
    #[error("{wanted} connections need more open files than the limit of {limit} (ulimit -Hn)")]
    Files {
        /// Connections that were asked for.
        wanted: usize,
        /// The hard limit.
        limit: u64,
    },
    /// `--pid` names no process that may be looked at.
    #[error("process {0} cannot be looked at: is it running, and on this machine?")]
    NoProcess(u32),
    /// The environment failed us.
    #[error("{what}: {source}")]
    Io {
        /// What was attempted.
        what: &'static str,
        /// What the kernel says.
        source: io::Error,
    },
}

impl LoadError {
    /// A stable name.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Usage(_) => "usage",
            Self::Unresolved { .. } => "unresolved",
            Self::Connect { .. } => "connect",
            Self::Refused(_) => "refused",
            Self::Stalled { .. } => "stalled",
            Self::Files { .. } => "files",
            Self::NoProcess(_) => "no_process",
            Self::Io { .. } => "io",
        }
    }

    /// For `map_err`.
    pub(crate) fn io(what: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { what, source }
    }
}
