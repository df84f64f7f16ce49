//! A node without a server: an adapter, and an inbox that writes down what comes.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytestring::ByteString;
use kentongan::{
    Adapter, AdapterError, Args, ClusterBody, ClusterDecodeError, ClusterLimits, ClusterMessage,
    Inbox, NodeId, Signal,
};
use kentongan_protocol::socket::args::Parser;
use std::sync::Mutex;

use super::Subject;

/// What a rule finds: nothing, or a violation in words.
pub(super) type Checked<T = ()> = Result<T, String>;

pub(super) struct Node {
    pub(super) id: NodeId,
    pub(super) adapter: Arc<dyn Adapter>,
    pub(super) inbox: Arc<Recorder>,
    patience: Duration,
}

/// Everything that an adapter gave to its inbox.
#[derive(Default)]
pub(super) struct Recorder(Mutex<Record>);

#[derive(Default, Clone)]
pub(super) struct Record {
    pub(super) messages: Vec<ClusterMessage>,
    pub(super) signals: Vec<Signal>,
    pub(super) refused: Vec<&'static str>,
}

impl Recorder {
    pub(super) fn read<R>(&self, read: impl FnOnce(&Record) -> R) -> R {
        read(&self.lock())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Record> {
        self.0
            .lock()
            .expect("nothing panics while the record is written")
    }
}

impl Inbox for Recorder {
    fn deliver(&self, message: ClusterMessage) {
        self.lock().messages.push(message);
    }

    fn refuse(&self, error: &ClusterDecodeError) {
        self.lock().refused.push(error.code());
    }

    fn signal(&self, signal: Signal) {
        self.lock().signals.push(signal);
    }
}

impl Record {
    /// The numbers that this node sent, in the order in which they came.
    pub(super) fn numbers(&self, from: &NodeId) -> Vec<u64> {
        self.messages
            .iter()
            .filter(|message| message.from == *from)
            .filter_map(number)
            .collect()
    }

    pub(super) fn has_loss(&self) -> bool {
        self.signals.iter().any(Signal::is_loss)
    }
}

impl Node {
    pub(super) fn attach(subject: &impl Subject) -> Checked<Self> {
        let node = Self {
            id: NodeId::random(),
            adapter: subject.adapter(),
            inbox: Arc::default(),
            patience: subject.patience(),
        };
        node.attach_again()
            .map_err(|error| format!("attach fails: {error}"))?;
        Ok(node)
    }

    pub(super) fn attach_again(&self) -> Result<(), AdapterError> {
        let inbox: Arc<Recorder> = Arc::clone(&self.inbox);
        self.adapter
            .attach(self.id.clone(), ClusterLimits::default(), inbox)
    }

    /// Attaches `count` nodes and waits until all of them know each other.
    pub(super) async fn cluster(subject: &impl Subject, count: usize) -> Checked<Vec<Self>> {
        let nodes: Vec<_> = (0..count)
            .map(|_| Self::attach(subject))
            .collect::<Checked<_>>()?;
        for node in &nodes {
            node.until("the nodes to know each other", || {
                node.adapter.nodes().len() == count - 1
            })
            .await?;
        }
        Ok(nodes)
    }

    /// Publishes a numbered message.
    pub(super) fn publish(&self, to: Option<&Self>, number: u64) -> Result<(), AdapterError> {
        self.publish_large(to, number, 0)
    }

    /// Publishes a numbered message with this many bytes more.
    pub(super) fn publish_large(
        &self,
        to: Option<&Self>,
        number: u64,
        bytes: usize,
    ) -> Result<(), AdapterError> {
        self.adapter.publish(ClusterMessage::new(
            self.id.clone(),
            to.map(|node| node.id.clone()),
            ByteString::from_static("/"),
            numbered(number, bytes),
        ))
    }

    /// Publishes a numbered message that must be taken.
    pub(super) fn say(&self, to: Option<&Self>, number: u64) -> Checked {
        self.publish(to, number)
            .map_err(|error| format!("message {number} is not taken: {error}"))
    }

    /// Waits until this number of that node has come.
    pub(super) async fn hears(&self, from: &Self, expected: u64) -> Checked {
        self.until(&format!("message {expected} to arrive"), || {
            self.inbox.read(|record| {
                record
                    .messages
                    .iter()
                    .rev()
                    .any(|message| message.from == from.id && number(message) == Some(expected))
            })
        })
        .await
    }

    /// Waits for a signal.
    pub(super) async fn told(&self, code: &str) -> Checked {
        self.until(&format!("the signal {code}"), || {
            self.inbox
                .read(|record| record.signals.iter().any(|signal| signal.code() == code))
        })
        .await
    }

    /// Waits for something that may come by a network, and therefore has no other way than to look again.
    pub(super) async fn until(&self, what: &str, done: impl Fn() -> bool) -> Checked {
        let deadline = Instant::now() + self.patience;
        while !done() {
            if Instant::now() > deadline {
                return Err(format!("waited {:?} for {what}", self.patience));
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        Ok(())
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.adapter.close();
    }
}

fn numbered(number: u64, bytes: usize) -> ClusterBody {
    ClusterBody::ServerSideEmit {
        request: None,
        event: ByteString::from_static(EVENT),
        args: Args::from_serialize(Parser::Json, &(number, "x".repeat(bytes)))
            .expect("a number and a text can be sent"),
    }
}

/// The number of a message of [`Node::publish`].
pub(super) fn number(message: &ClusterMessage) -> Option<u64> {
    match &message.body {
        ClusterBody::ServerSideEmit { event, args, .. } if *event == EVENT => args.argument(0).ok(),
        _ => None,
    }
}

const EVENT: &str = "suite";
