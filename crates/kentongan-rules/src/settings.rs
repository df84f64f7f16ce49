//! What a rules file can set, compiled: the values with their defaults filled in. Data only; who checks is `compile`.

use std::time::Duration;

/// `[server]`: where the server listens and what it keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Server {
    /// Address to listen on.
    pub listen: std::net::SocketAddr,
    /// Origins that browsers may come from. Empty: the server's own only.
    pub origins: Vec<String>,
    /// Where logs are kept.
    pub store: Store,
    /// How a dead line is found.
    pub heartbeat: Heartbeat,
    /// Bytes of the largest message that the server takes, of whatever feature.
    pub message_bytes_max: u64,
}

/// Where logs are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Store {
    /// In a folder of this machine.
    Embedded {
        /// The folder, relative to the rules file.
        folder: String,
    },
    /// In Redis.
    Redis {
        /// Its address, without a password.
        url: String,
    },
    /// Where a variable of the environment says. For addresses with a password.
    Environment {
        /// The variable.
        name: String,
    },
}

/// How a dead line is found: a ping every `interval`, and `timeout` to answer it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Heartbeat {
    /// Time between pings.
    pub interval: Duration,
    /// Time to answer one.
    pub timeout: Duration,
}

impl Heartbeat {
    /// The longest time until both sides know that a line is dead.
    #[must_use]
    pub fn notices_after(self) -> Duration {
        self.interval + self.timeout
    }
}

/// `[auth]`: who a client is. What it may do is in the policies.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Auth {
    /// How tokens are checked. None: nobody is let in with a token.
    pub jwt: Option<Jwt>,
    /// Where a token says what.
    pub claims: Claims,
}

/// How tokens are checked.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Jwt {
    /// Where the key comes from.
    pub key: KeySource,
    /// The only algorithm that is taken, whatever a token says.
    pub algorithm: Algorithm,
}

/// Where a key comes from. Never from the rules file itself.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeySource {
    /// A shared secret in a variable of the environment.
    Environment(String),
    /// A shared secret in a file.
    File(String),
    /// Public keys at an address.
    Jwks(String),
}

/// Algorithms of tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "named as in RFC 7518 and RFC 8037")]
#[non_exhaustive]
pub enum Algorithm {
    Hs256,
    Hs384,
    Hs512,
    Rs256,
    Rs384,
    Rs512,
    Ps256,
    Es256,
    Es384,
    EdDsa,
}

/// The names of claims in a token. Without a name, nobody has the claim, and no policy can ask for it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Claims {
    /// Who it is.
    pub user: String,
    /// The organization.
    pub org: Option<String>,
    /// A list of projects.
    pub projects: Option<String>,
    /// A list of roles.
    pub roles: Option<String>,
}

/// How a feature, or one of its messages, is delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// One order per room, nothing lost within the window.
    Log,
    /// Delivered at once or not at all.
    Signal,
}

impl Kind {
    /// All kinds that there are, with their names.
    pub const ALL: [(&'static str, Self); 2] = [("log", Self::Log), ("signal", Self::Signal)];

    /// The kind's name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Log => "log",
            Self::Signal => "signal",
        }
    }
}

/// Who sends a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Sender {
    /// Clients, when a policy permits it, and the backend.
    Client,
    /// The backend alone.
    Backend,
}

/// How much of a log can be had again. Whatever bound is reached first counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Window {
    /// Messages.
    pub messages: u32,
    /// Age of a message.
    pub age: Duration,
    /// Bytes of all messages of a room.
    pub bytes: u64,
}

/// From when the user is told what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Show {
    /// An answer or update is late.
    pub slow: Duration,
    /// The line is down.
    pub reconnecting: Duration,
    /// The line has been down for long.
    pub offline: Duration,
    /// The line is up, what is shown is old.
    pub stale: Duration,
}

/// What several tabs of one user do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Tabs {
    /// Each tab is on its own.
    Each,
    /// One tab leads, the others follow.
    One,
}

/// Who is here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Presence {
    /// How long a user who is cut off still counts as here.
    pub linger: Duration,
}

/// How often one user may send a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rate {
    /// In the long run.
    pub per_second: u32,
    /// At once.
    pub burst: u32,
}
