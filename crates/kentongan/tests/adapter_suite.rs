//! The suite for adapters: the cluster in memory passes it, and every rule is broken by an adapter with a planted fault.

#![expect(
    clippy::unwrap_used,
    reason = "a lock that is poisoned is a test that has failed"
)]

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use bytes::Bytes;
use kentongan::{
    Adapter, AdapterError, ClusterBody, ClusterDecodeError, ClusterLimits, ClusterMessage, Inbox,
    MemoryCluster, MemoryLimits, NodeId, Signal,
};
use kentongan_testkit::adapter_suite::{Rule, Subject, check, check_all};

/// Something that an adapter may do wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Planted {
    Nothing,
    AttachesTwice,
    TakesBeforeAttach,
    Waits,
    SwapsPairs,
    Echoes,
    Doubles,
    IgnoresAddress,
    ForgetsFlags,
    LosesEveryTenth,
    HidesCuts,
    StaysAway,
    NamesItself,
    HidesLeavers,
    Trusts,
    TakesAll,
    StaysOpen,
    LeavesAtOnce,
}

/// A cluster in memory whose adapters have the fault.
struct Faulty {
    cluster: MemoryCluster,
    planted: Planted,
}

impl Faulty {
    fn new(planted: Planted) -> Self {
        let mut limits = MemoryLimits::default();
        limits.queue_messages_max = QUEUE_MESSAGES_MAX;
        Self {
            cluster: MemoryCluster::with_limits(limits),
            planted,
        }
    }
}

impl Subject for Faulty {
    fn adapter(&self) -> Arc<dyn Adapter> {
        Arc::new(FaultyAdapter {
            inner: self.cluster.adapter(),
            planted: self.planted,
            inbox: Mutex::new(None),
            own: Mutex::new(None),
            cluster: self.cluster.clone(),
        })
    }

    async fn cut(&self, node: &NodeId) {
        self.cluster.cut(node);
    }

    async fn restore(&self, node: &NodeId) {
        if self.planted != Planted::StaysAway {
            self.cluster.restore(node);
        }
    }

    async fn inject(&self, node: &NodeId, bytes: Bytes) {
        self.cluster.inject(node, bytes);
    }

    fn queue_messages_max(&self) -> usize {
        QUEUE_MESSAGES_MAX
    }

    fn patience(&self) -> Duration {
        // Faults cost this much, sound adapters do not.
        match self.planted {
            Planted::Nothing => Duration::from_secs(10),
            _ => Duration::from_millis(300),
        }
    }
}

struct FaultyAdapter {
    inner: Arc<dyn Adapter>,
    planted: Planted,
    inbox: Mutex<Option<Arc<FaultyInbox>>>,
    own: Mutex<Option<NodeId>>,
    cluster: MemoryCluster,
}

struct FaultyInbox {
    inner: Arc<dyn Inbox>,
    planted: Planted,
    held: Mutex<Option<ClusterMessage>>,
    count: AtomicUsize,
}

impl Adapter for FaultyAdapter {
    fn attach(
        &self,
        node: NodeId,
        limits: ClusterLimits,
        inbox: Arc<dyn Inbox>,
    ) -> Result<(), AdapterError> {
        let inbox = Arc::new(FaultyInbox {
            inner: inbox,
            planted: self.planted,
            held: Mutex::new(None),
            count: AtomicUsize::new(0),
        });
        let attached =
            self.inner
                .attach(node.clone(), limits, Arc::clone(&inbox) as Arc<dyn Inbox>);
        if attached.is_ok() {
            *self.inbox.lock().unwrap() = Some(inbox);
            *self.own.lock().unwrap() = Some(node);
        }
        match self.planted {
            Planted::AttachesTwice => Ok(()),
            _ => attached,
        }
    }

    fn publish(&self, mut message: ClusterMessage) -> Result<(), AdapterError> {
        match self.planted {
            Planted::Waits => thread::sleep(Duration::from_millis(1)),
            Planted::IgnoresAddress => message.to = None,
            Planted::ForgetsFlags => {
                if let ClusterBody::Broadcast { flags, .. } = &mut message.body {
                    flags.volatile = false;
                }
            }
            Planted::Echoes => {
                if let Some(inbox) = &*self.inbox.lock().unwrap() {
                    inbox.inner.deliver(message.clone());
                }
            }
            _ => {}
        }
        let published = self.inner.publish(message);
        match (self.planted, &published) {
            (Planted::TakesBeforeAttach, Err(AdapterError::NotAttached))
            | (Planted::TakesAll, _) => Ok(()),
            _ => published,
        }
    }

    fn nodes(&self) -> Vec<NodeId> {
        let mut nodes = self.inner.nodes();
        if self.planted == Planted::NamesItself
            && let Some(own) = &*self.own.lock().unwrap()
            && let Some(first) = nodes.first_mut()
        {
            *first = own.clone();
        }
        nodes
    }

    fn close(&self) {
        if self.planted == Planted::StaysOpen {
            return;
        }
        if self.planted == Planted::LeavesAtOnce
            && let Some(own) = &*self.own.lock().unwrap()
        {
            // What waits to be sent is thrown away.
            self.cluster.cut(own);
            self.cluster.restore(own);
        }
        self.inner.close();
    }
}

impl Inbox for FaultyInbox {
    fn deliver(&self, message: ClusterMessage) {
        let count = self.count.fetch_add(1, Ordering::Relaxed);
        match self.planted {
            Planted::SwapsPairs => {
                let held = self.held.lock().unwrap().take();
                if let Some(held) = held {
                    self.inner.deliver(message);
                    return self.inner.deliver(held);
                }
                if count % 10 == 8 {
                    *self.held.lock().unwrap() = Some(message);
                    return;
                }
            }
            Planted::Doubles if count % 10 == 5 => self.inner.deliver(message.clone()),
            Planted::LosesEveryTenth if count % 10 == 5 => return,
            _ => {}
        }
        self.inner.deliver(message);
    }

    fn refuse(&self, error: &ClusterDecodeError) {
        if self.planted != Planted::Trusts {
            self.inner.refuse(error);
        }
    }

    fn signal(&self, signal: Signal) {
        match (self.planted, &signal) {
            (Planted::HidesCuts, Signal::LinkLost { .. })
            | (Planted::HidesLeavers, Signal::NodeLeft(_)) => {}
            _ => self.inner.signal(signal),
        }
    }
}

const QUEUE_MESSAGES_MAX: usize = 5_000;

#[tokio::test]
async fn the_cluster_in_memory_passes() {
    let violations = check_all(|| Faulty::new(Planted::Nothing)).await;
    assert!(violations.is_empty(), "{violations:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_cluster_in_memory_passes_on_several_threads() {
    let violations = check_all(|| Faulty::new(Planted::Nothing)).await;
    assert!(violations.is_empty(), "{violations:#?}");
}

#[tokio::test]
async fn every_rule_finds_its_fault() {
    let faults = [
        (Rule::AttachedOnce, Planted::AttachesTwice),
        (Rule::AttachedOnce, Planted::TakesBeforeAttach),
        (Rule::NeverWaits, Planted::Waits),
        (Rule::Order, Planted::SwapsPairs),
        (Rule::AtMostOnce, Planted::Echoes),
        (Rule::AtMostOnce, Planted::Doubles),
        (Rule::Addressed, Planted::IgnoresAddress),
        (Rule::Unchanged, Planted::ForgetsFlags),
        (Rule::LossIsTold, Planted::LosesEveryTenth),
        (Rule::LossIsTold, Planted::HidesCuts),
        (Rule::ComesBack, Planted::HidesCuts),
        (Rule::ComesBack, Planted::StaysAway),
        (Rule::Members, Planted::NamesItself),
        (Rule::Members, Planted::HidesLeavers),
        (Rule::Distrust, Planted::Trusts),
        (Rule::Bounded, Planted::TakesAll),
        (Rule::Closed, Planted::StaysOpen),
        (Rule::Closed, Planted::LeavesAtOnce),
    ];
    for rule in Rule::ALL {
        let is_covered = faults.iter().any(|(each, _)| *each == rule);
        assert!(is_covered, "no planted fault breaks {rule:?}");
    }
    for (rule, planted) in faults {
        let checked = check(rule, &Faulty::new(planted)).await;
        let violation = checked.expect_err(&format!("{rule:?} does not find {planted:?}"));
        println!("{planted:?} breaks {violation}");
    }
}
