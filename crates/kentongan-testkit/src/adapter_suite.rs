//! What every adapter for `kentongan` has to do, as checks: one rule for each obligation of [`Adapter`].
//!
//! A crate with an adapter implements [`Subject`] and calls [`check_all`] in a test. The suite knows adapters only by
//! their contract; that each check can fail is shown by adapters with planted faults, in the tests of `kentongan`.

mod node;
mod rules;

use std::{fmt, future::Future, sync::Arc, time::Duration};

use bytes::Bytes;
use kentongan::{Adapter, NodeId};

/// A cluster whose adapter is tested. Each rule gets a fresh one.
pub trait Subject {
    /// An adapter for one more node, not yet attached.
    fn adapter(&self) -> Arc<dyn Adapter>;

    /// Cuts this node off from the others.
    fn cut(&self, node: &NodeId) -> impl Future<Output = ()>;

    /// Makes it possible for the node to reach the others again.
    fn restore(&self, node: &NodeId) -> impl Future<Output = ()>;

    /// Makes these bytes arrive at the node as if another node had sent them.
    fn inject(&self, node: &NodeId, bytes: Bytes) -> impl Future<Output = ()>;

    /// How many messages one node may queue while it cannot send.
    fn queue_messages_max(&self) -> usize;

    /// How long anything may take: to connect, to arrive, to find out that a node is gone.
    fn patience(&self) -> Duration;
}

/// The obligations of an adapter, numbered as in the documentation of [`Adapter`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Rule {
    /// 1: `attach` works once, `publish` only after it.
    AttachedOnce,
    /// 2: `publish` returns at once.
    NeverWaits,
    /// 3: what one node publishes arrives in its order.
    Order,
    /// 4: no message twice, and none of one's own.
    AtMostOnce,
    /// 5: a message for one node reaches no other.
    Addressed,
    /// 6: a message arrives as it was published.
    Unchanged,
    /// 7: what was taken arrives, or somebody is told.
    LossIsTold,
    /// 8: a link that was cut comes back, and says so.
    ComesBack,
    /// 9: `nodes` and the signals name who is there.
    Members,
    /// 10: bytes that are no message are refused, and nothing else is lost for it.
    Distrust,
    /// 11: what waits is bounded.
    Bounded,
    /// 12: `close` ends it in good order.
    Closed,
}

/// An adapter does not do what it owes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Which obligation.
    pub rule: Rule,
    /// What was seen.
    pub what: String,
}

impl Rule {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::AttachedOnce,
        Self::NeverWaits,
        Self::Order,
        Self::AtMostOnce,
        Self::Addressed,
        Self::Unchanged,
        Self::LossIsTold,
        Self::ComesBack,
        Self::Members,
        Self::Distrust,
        Self::Bounded,
        Self::Closed,
    ];
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.rule, self.what)
    }
}

impl std::error::Error for Violation {}

/// Checks one rule. Needs a tokio runtime with time.
///
/// # Errors
/// The first [`Violation`] of the rule.
pub async fn check(rule: Rule, subject: &impl Subject) -> Result<(), Violation> {
    let checked = match rule {
        Rule::AttachedOnce => rules::attached_once(subject).await,
        Rule::NeverWaits => rules::never_waits(subject).await,
        Rule::Order => rules::order(subject).await,
        Rule::AtMostOnce => rules::at_most_once(subject).await,
        Rule::Addressed => rules::addressed(subject).await,
        Rule::Unchanged => rules::unchanged(subject).await,
        Rule::LossIsTold => rules::loss_is_told(subject).await,
        Rule::ComesBack => rules::comes_back(subject).await,
        Rule::Members => rules::members(subject).await,
        Rule::Distrust => rules::distrust(subject).await,
        Rule::Bounded => rules::bounded(subject).await,
        Rule::Closed => rules::closed(subject).await,
    };
    checked.map_err(|what| Violation { rule, what })
}

/// Checks every rule, each on a cluster of its own, and returns all that is wrong.
pub async fn check_all<S: Subject>(fresh: impl Fn() -> S) -> Vec<Violation> {
    let mut violations = Vec::new();
    for rule in Rule::ALL {
        if let Err(violation) = check(rule, &fresh()).await {
            violations.push(violation);
        }
    }
    violations
}
