//! Requests of this node to the others: who is still to answer, what came, and who is missing.
//!
//! Invariant: a request is in the table as long as somebody waits for it, and no longer. Every node that was asked is in
//! the end either done or named as missing, with the reason.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::{
    Missing, MissingNode,
    message::{Answer, NodeId, RequestId, SocketRecord},
};
use crate::id::Sid;

/// The requests that wait.
#[derive(Default)]
pub(crate) struct Requests {
    waiting: Mutex<HashMap<RequestId, Arc<Gather>>>,
}

/// A request that waits; dropped, it is gone from the table.
pub(crate) struct Waiting<'a> {
    requests: &'a Requests,
    pub(crate) id: RequestId,
    gather: Arc<Gather>,
}

struct Gather {
    state: Mutex<State>,
    changed: Notify,
    sockets_max: usize,
}

#[derive(Default)]
struct State {
    /// Nodes that are not done.
    awaited: HashMap<NodeId, Progress>,
    /// Nodes that are: whatever else they say is passed over.
    done: HashSet<NodeId>,
    gathered: Gathered,
    /// Sockets that the answers named so far.
    sockets: usize,
}

/// How far one node is with the answers of its clients.
#[derive(Default)]
struct Progress {
    asked: Option<u64>,
    /// Those who were asked and are silent still.
    silent: HashSet<Sid>,
    /// Those who have answered. An answer may overtake the list of those who were asked.
    answered: HashSet<Sid>,
}

/// What came in the end.
#[derive(Debug, Default)]
pub(crate) struct Gathered {
    pub(crate) sockets: Vec<(NodeId, SocketRecord)>,
    pub(crate) nodes: Vec<(NodeId, Answer)>,
    pub(crate) clients: Vec<(Sid, Answer)>,
    /// Clients that were asked and did not answer.
    pub(crate) silent: Vec<Sid>,
    pub(crate) missing: Vec<MissingNode>,
}

impl Requests {
    /// Opens a request to these nodes.
    pub(crate) fn open(
        &self,
        nodes: &[NodeId],
        requests_max: usize,
        sockets_max: usize,
    ) -> Result<Waiting<'_>, Missing> {
        let state = State {
            awaited: nodes
                .iter()
                .map(|node| (node.clone(), Progress::default()))
                .collect(),
            ..State::default()
        };
        let gather = Arc::new(Gather {
            state: Mutex::new(state),
            changed: Notify::new(),
            sockets_max,
        });
        let id = RequestId::random();
        let mut waiting = self.waiting.lock();
        if waiting.len() >= requests_max {
            return Err(Missing::TooManyRequests);
        }
        waiting.insert(id.clone(), Arc::clone(&gather));
        drop(waiting);
        Ok(Waiting {
            requests: self,
            id,
            gather,
        })
    }

    pub(crate) fn len(&self) -> usize {
        self.waiting.lock().len()
    }

    /// A node has left: nobody waits for it any longer.
    pub(crate) fn node_left(&self, node: &NodeId) {
        let all: Vec<_> = self.waiting.lock().values().cloned().collect();
        for gather in all {
            gather.change(|state, _| state.miss(node, Missing::Left));
        }
    }

    /// A part of a node's sockets.
    pub(crate) fn sockets(
        &self,
        request: &RequestId,
        node: &NodeId,
        sockets: Vec<SocketRecord>,
        last: bool,
    ) -> bool {
        self.change(request, |state, max| {
            if state.done.contains(node) {
                return;
            }
            if !state.take_sockets(node, sockets.len(), max) {
                return;
            }
            let sockets = sockets.into_iter().map(|socket| (node.clone(), socket));
            state.gathered.sockets.extend(sockets);
            if last {
                state.finish(node);
            }
        })
    }

    /// What a node's listener said.
    pub(crate) fn node_answered(&self, request: &RequestId, node: &NodeId, answer: Answer) -> bool {
        self.change(request, |state, _| {
            if state.finish(node) {
                state.gathered.nodes.push((node.clone(), answer));
            }
        })
    }

    /// How many clients a node has asked, and who they are.
    pub(crate) fn clients_asked(
        &self,
        request: &RequestId,
        node: &NodeId,
        count: Option<u64>,
        sockets: &[Sid],
    ) -> bool {
        self.change(request, |state, max| {
            let Some(count) = count else {
                return state.miss(node, Missing::Busy);
            };
            if state.done.contains(node) || !state.take_sockets(node, sockets.len(), max) {
                return;
            }
            let progress = state.awaited.entry(node.clone()).or_default();
            progress.asked = Some(count);
            let silent = sockets
                .iter()
                .filter(|socket| !progress.answered.contains(socket));
            progress.silent.extend(silent);
            state.finish_if_complete(node);
        })
    }

    /// What one client of a node said.
    pub(crate) fn client_answered(
        &self,
        request: &RequestId,
        node: &NodeId,
        socket: Sid,
        answer: Answer,
    ) -> bool {
        self.change(request, |state, max| {
            if state.done.contains(node) || state.gathered.clients.len() >= max {
                return;
            }
            let progress = state.awaited.entry(node.clone()).or_default();
            if !progress.answered.insert(socket) {
                return;
            }
            progress.silent.remove(&socket);
            state.gathered.clients.push((socket, answer));
            state.finish_if_complete(node);
        })
    }

    /// `false`: nobody waits for it.
    fn change(&self, request: &RequestId, change: impl FnOnce(&mut State, usize)) -> bool {
        let gather = self.waiting.lock().get(request).cloned();
        let Some(gather) = gather else { return false };
        gather.change(change);
        true
    }
}

impl Waiting<'_> {
    /// The request reached nobody.
    pub(crate) fn not_asked(&self, why: &Missing) {
        self.gather.change(|state, _| {
            let nodes: Vec<_> = state.awaited.keys().cloned().collect();
            for node in nodes {
                state.miss(&node, why.clone());
            }
        });
    }

    /// Waits until every node is done, or `timeout`; returns what there is.
    pub(crate) async fn collect(self, timeout: Duration) -> Gathered {
        let complete = async {
            while !self.gather.state.lock().awaited.is_empty() {
                self.gather.changed.notified().await;
            }
        };
        // A time-out leaves a partial result, which is the answer.
        let _ = tokio::time::timeout(timeout, complete).await;
        let mut state = self.gather.state.lock();
        let late: Vec<_> = state.awaited.keys().cloned().collect();
        for node in late {
            state.miss(&node, Missing::TimedOut);
        }
        std::mem::take(&mut state.gathered)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.requests.waiting.lock().remove(&self.id);
    }
}

impl Gather {
    fn change(&self, change: impl FnOnce(&mut State, usize)) {
        let mut state = self.state.lock();
        change(&mut state, self.sockets_max);
        if state.awaited.is_empty() {
            self.changed.notify_one();
        }
    }
}

impl State {
    /// `false`: it was done before.
    fn finish(&mut self, node: &NodeId) -> bool {
        self.awaited.remove(node);
        self.done.insert(node.clone())
    }

    fn finish_if_complete(&mut self, node: &NodeId) {
        let is_complete = self.awaited.get(node).is_some_and(|progress| {
            let answered = progress.answered.len() as u64;
            progress.asked.is_some_and(|asked| answered >= asked)
        });
        if is_complete {
            self.finish(node);
        }
    }

    fn miss(&mut self, node: &NodeId, why: Missing) {
        let Some(progress) = self.awaited.remove(node) else {
            return;
        };
        self.done.insert(node.clone());
        // A node that said whom it asked is not missing: its clients are. Unless it named fewer than it asked.
        let named = (progress.silent.len() + progress.answered.len()) as u64;
        let is_known = progress.asked.is_some_and(|asked| named >= asked);
        self.gathered.silent.extend(progress.silent);
        if !(is_known && why == Missing::TimedOut) {
            self.gathered.missing.push(MissingNode {
                node: node.clone(),
                why,
            });
        }
    }

    fn take_sockets(&mut self, node: &NodeId, sockets: usize, max: usize) -> bool {
        self.sockets = self.sockets.saturating_add(sockets);
        if self.sockets > max {
            self.miss(node, Missing::TooManySockets);
            return false;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapter::message::Fault;

    fn node(name: &'static str) -> NodeId {
        NodeId::new(name).unwrap()
    }

    fn record() -> SocketRecord {
        SocketRecord {
            id: Sid::random(),
            rooms: Vec::new(),
            data: Default::default(),
        }
    }

    async fn collect(waiting: Waiting<'_>) -> Gathered {
        waiting.collect(Duration::from_secs(5)).await
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_silent_is_named_and_the_rest_is_there() {
        let requests = Requests::default();
        let waiting = requests.open(&[node("a"), node("b")], 10, 10).unwrap();
        let id = waiting.id.clone();
        assert!(requests.sockets(&id, &node("a"), vec![record()], false));
        assert!(requests.sockets(&id, &node("a"), vec![record()], true));
        assert!(requests.sockets(&id, &node("a"), vec![record()], true));
        let gathered = collect(waiting).await;
        assert_eq!(
            gathered.sockets.len(),
            2,
            "what comes behind the last part is passed over"
        );
        assert_eq!(gathered.missing.len(), 1);
        assert_eq!(gathered.missing[0].node, node("b"));
        assert_eq!(gathered.missing[0].why, Missing::TimedOut);
        assert_eq!(requests.len(), 0);
        assert!(!requests.sockets(&id, &node("b"), vec![], true), "too late");
    }

    #[tokio::test(start_paused = true)]
    async fn a_node_that_leaves_is_not_waited_for() {
        let requests = Requests::default();
        let waiting = requests.open(&[node("a")], 10, 10).unwrap();
        requests.node_left(&node("a"));
        let before = tokio::time::Instant::now();
        let gathered = collect(waiting).await;
        assert_eq!(gathered.missing[0].why, Missing::Left);
        assert_eq!(before.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn clients_are_named_even_if_answers_overtake_the_list() {
        let requests = Requests::default();
        let waiting = requests.open(&[node("a"), node("b")], 10, 10).unwrap();
        let id = waiting.id.clone();
        let clients = [Sid::random(), Sid::random(), Sid::random()];
        let answer = || Answer::Failed(Fault::Disconnected);
        requests.client_answered(&id, &node("a"), clients[0], answer());
        requests.clients_asked(&id, &node("a"), Some(2), &clients[..2]);
        requests.client_answered(&id, &node("a"), clients[0], answer());
        requests.clients_asked(&id, &node("b"), Some(1), &clients[2..]);
        requests.client_answered(&id, &node("b"), clients[2], answer());
        let gathered = collect(waiting).await;
        assert_eq!(gathered.clients.len(), 2, "one answer each");
        assert_eq!(gathered.silent, [clients[1]]);
        assert!(gathered.missing.is_empty(), "{:?}", gathered.missing);
    }

    #[tokio::test(start_paused = true)]
    async fn numbers_without_names_leave_the_node_missing() {
        let requests = Requests::default();
        let waiting = requests.open(&[node("a")], 10, 10).unwrap();
        requests.clients_asked(&waiting.id.clone(), &node("a"), Some(2), &[]);
        let gathered = collect(waiting).await;
        assert_eq!(gathered.missing[0].why, Missing::TimedOut);
    }

    #[tokio::test(start_paused = true)]
    async fn limits_are_inclusive() {
        let requests = Requests::default();
        let first = requests.open(&[node("a")], 1, 2).unwrap();
        assert_eq!(
            requests.open(&[], 1, 2).err(),
            Some(Missing::TooManyRequests)
        );
        requests.sockets(
            &first.id.clone(),
            &node("a"),
            vec![record(), record()],
            true,
        );
        assert!(collect(first).await.missing.is_empty());
        let second = requests.open(&[node("a")], 1, 2).unwrap();
        let records = vec![record(), record(), record()];
        requests.sockets(&second.id.clone(), &node("a"), records, true);
        let gathered = collect(second).await;
        assert_eq!(gathered.missing[0].why, Missing::TooManySockets);
        assert!(gathered.sockets.is_empty());
    }
}
