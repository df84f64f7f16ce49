//! Events from one server to its fellows: `server_side_emit` and those who listen.
//!
//! Invariant: the listeners of a namespace run one after the other, in the order in which the events came. What waits
//! for them is bounded; an event beyond that is refused, and the asking node is told.

use std::{future::Future, sync::Arc};

use bytestring::ByteString;
use futures_util::{FutureExt, future::BoxFuture};
use kentongan_protocol::socket::args::{Args, ArgsError, FromArgs, IntoArgs, Parser};
use tokio::sync::mpsc;

use super::{
    MissingNode,
    cluster::Cluster,
    message::{Answer, Body, Fault, NodeId, RequestId},
};
use crate::{
    handler::{Reply, listeners::ListenerId},
    metrics,
    namespace::behaviour::Behaviour,
};

/// An event that another node sent with `server_side_emit`.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ServerEvent {
    /// Who sent it.
    pub from: NodeId,
    /// The namespace.
    pub namespace: ByteString,
    /// Its name.
    pub name: ByteString,
    /// Its arguments.
    pub args: Args,
}

/// What the other nodes answered to `server_side_emit_with_ack`.
#[derive(Debug)]
#[non_exhaustive]
pub struct NodeAnswers<T> {
    /// One entry for each node that answered, or said that it will not.
    pub given: Vec<(NodeId, Result<T, NodeAnswerError>)>,
    /// Nodes that should have answered and did not.
    pub missing: Vec<MissingNode>,
}

/// A node was reached, but there is no answer of the wanted type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NodeAnswerError {
    /// The node said why it does not answer.
    #[error(transparent)]
    Fault(#[from] Fault),
    /// The answer does not fit the type.
    #[error("the answer does not fit: {0}")]
    Answer(ArgsError),
}

/// What a listener of server events may return: nothing, or an answer.
pub trait IntoServerReply: Send + 'static {
    /// The answer, if there is one.
    fn into_reply(self, parser: Parser) -> Option<Result<Args, ArgsError>>;
}

impl IntoServerReply for () {
    fn into_reply(self, _: Parser) -> Option<Result<Args, ArgsError>> {
        None
    }
}

impl<T: IntoArgs + Send + 'static> IntoServerReply for Reply<T> {
    fn into_reply(self, parser: Parser) -> Option<Result<Args, ArgsError>> {
        Some(self.0.into_args(parser))
    }
}

impl<T: IntoServerReply> IntoServerReply for Option<T> {
    fn into_reply(self, parser: Parser) -> Option<Result<Args, ArgsError>> {
        self?.into_reply(parser)
    }
}

impl ServerEvent {
    /// The arguments, deserialized: a tuple takes several, anything else the first one.
    ///
    /// # Errors
    /// They do not fit the type.
    pub fn data<T: FromArgs>(&self) -> Result<T, ArgsError> {
        T::from_args(&self.args)
    }
}

impl<T> NodeAnswers<T> {
    /// The answers alone.
    pub fn into_values(self) -> Vec<T> {
        self.given
            .into_iter()
            .filter_map(|(_, answer)| answer.ok())
            .collect()
    }
}

pub(crate) type Replied = Option<Result<Args, ArgsError>>;

/// A listener without its types.
#[derive(Clone)]
pub(crate) struct ServerListener {
    pub(crate) id: ListenerId,
    run: Arc<dyn Fn(ServerEvent, Parser) -> BoxFuture<'static, Replied> + Send + Sync>,
}

impl ServerListener {
    pub(crate) fn new<F, Fut, R>(handler: F) -> Self
    where
        F: Fn(ServerEvent) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = R> + Send + 'static,
        R: IntoServerReply,
    {
        let handler = Arc::new(handler);
        Self {
            id: ListenerId::next(),
            run: Arc::new(move |event, parser| {
                // Called inside the future: a panic before its first await is caught with the others.
                let handler = Arc::clone(&handler);
                Box::pin(async move { handler(event).await.into_reply(parser) })
            }),
        }
    }
}

/// An event that waits for its listeners.
pub(crate) struct ServerEventJob {
    pub(crate) event: ServerEvent,
    pub(crate) request: Option<RequestId>,
    pub(crate) behaviour: Arc<Behaviour>,
    pub(crate) cluster: Arc<Cluster>,
    pub(crate) parser: Parser,
}

/// Runs the listeners of one namespace until it is gone.
pub(crate) async fn work(mut jobs: mpsc::Receiver<ServerEventJob>) {
    while let Some(job) = jobs.recv().await {
        let answer = run(&job).await;
        job.answer(answer);
    }
}

impl ServerEventJob {
    /// Tells the node that asked, if it did.
    pub(crate) fn answer(self, answer: Answer) {
        let Some(request) = self.request else { return };
        let reply = self.cluster.message(
            &self.event.namespace,
            Some(self.event.from),
            Body::ServerSideReply { request, answer },
        );
        // Counted and logged there.
        let _ = self.cluster.publish(reply);
    }
}

async fn run(job: &ServerEventJob) -> Answer {
    let listeners = job.behaviour.server_listeners(&job.event.name);
    if listeners.is_empty() {
        return Answer::Failed(Fault::NoListener);
    }
    let mut answer = Answer::Failed(Fault::NoAnswer);
    for listener in listeners {
        let ran = std::panic::AssertUnwindSafe((listener.run)(job.event.clone(), job.parser))
            .catch_unwind()
            .await;
        let given = match ran {
            Ok(None) => continue,
            Ok(Some(Ok(args))) => Answer::Given(args),
            Ok(Some(Err(error))) => {
                tracing::error!(event = %job.event.name, %error, "the answer of a server listener cannot be sent");
                Answer::Failed(Fault::Failed)
            }
            Err(_) => {
                metrics::add(&job.cluster.metrics.handler_panics, 1);
                tracing::error!(event = %job.event.name, "a server listener panicked");
                Answer::Failed(Fault::Failed)
            }
        };
        // The first one that answers counts, as with clients' acknowledgements.
        if matches!(answer, Answer::Failed(Fault::NoAnswer)) {
            answer = given;
        }
    }
    answer
}
