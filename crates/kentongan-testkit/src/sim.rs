//! A seeded, discrete-event simulation of one Engine.IO session: the server's state machine, a client that behaves
//! like engine.io-client, and a network that delays, reorders, breaks and swallows what is between them.
//!
//! Time is virtual and randomness comes from the seed alone, so a run is exactly repeatable. Both sides send numbered
//! packets. While the session stays up none may be lost, doubled or reordered, attachments may not be torn from their
//! header, nothing but a cause may end the session, and when it ends both sides learn of it in time.
//!
//! [`Mutation`] plants one bug in the session; the tests prove that each is caught.

mod client;
mod ledger;
mod network;
mod plan;
pub(crate) mod random;
mod server;
mod subject;
mod wire;
mod world;

pub use self::ledger::Report;
pub use self::subject::Mutation;
use self::world::World;

/// A broken promise, with what is needed to see it again.
#[derive(Debug, Clone)]
pub struct Failure {
    /// The seed that broke it.
    pub seed: u64,
    /// What was broken.
    pub violation: String,
    /// What happened, one line per event; empty unless asked for.
    pub trace: Vec<String>,
}

/// Whether a run keeps a line per event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trace {
    /// Every event is noted.
    On,
    /// Nothing is noted, which is several times faster.
    Off,
}

/// Runs one seed. The trace comes with a failure, and with a success in [`Report::trace`].
///
/// # Errors
/// When an invariant does not hold.
pub fn run(seed: u64, mutation: Option<Mutation>, trace: Trace) -> Result<Report, Failure> {
    World::new(seed, mutation, trace)
        .run()
        .map_err(|(violation, trace)| Failure {
            seed,
            violation,
            trace,
        })
}
