//! The checks, one function for each rule.
//!
//! That something does *not* arrive is shown by a fence: a later message of the same sender, which by the rule of order
//! comes after it.

use std::{
    collections::{HashMap, HashSet},
    time::Instant,
};

use bytes::Bytes;
use bytestring::ByteString;
use kentongan::{
    AckRequest, AdapterError, Answer, Args, Audience, ClusterBody, ClusterLimits, ClusterMessage,
    DisconnectScope, Fault, Flags, NodeId, RequestId, Sid, Signal, SocketRecord, Value,
    encode_cluster_message,
};
use kentongan_protocol::socket::args::Parser;

use super::{
    Subject,
    node::{Checked, Node, number},
};

pub(super) async fn attached_once(subject: &impl Subject) -> Checked {
    let unattached = subject.adapter();
    let early = unattached.publish(ClusterMessage::new(
        NodeId::random(),
        None,
        "/".into(),
        ClusterBody::DisconnectSockets {
            audience: Audience::default(),
            scope: DisconnectScope::Namespace,
        },
    ));
    expect(
        &early,
        &Err(AdapterError::NotAttached),
        "publish before attach",
    )?;
    let node = Node::attach(subject)?;
    let again = node.attach_again();
    expect(
        &again,
        &Err(AdapterError::AlreadyAttached),
        "a second attach",
    )
}

pub(super) async fn never_waits(subject: &impl Subject) -> Checked {
    let nodes = Node::cluster(subject, 2).await?;
    let [sender, _] = pair(&nodes)?;
    for link in ["up", "cut"] {
        if link == "cut" {
            subject.cut(&sender.id).await;
        }
        let start = Instant::now();
        for number in 0..1_000 {
            // Whether it is taken is the business of other rules.
            let _ = sender.publish(None, number);
        }
        let _ = sender.adapter.nodes();
        let taken = start.elapsed();
        if taken > subject.patience() {
            return Err(format!(
                "1,000 calls of publish take {taken:?} while the link is {link}"
            ));
        }
    }
    Ok(())
}

pub(super) async fn order(subject: &impl Subject) -> Checked {
    let nodes = Node::cluster(subject, 3).await?;
    let [first, second, receiver] = three(&nodes)?;
    for number in 0..MESSAGES {
        for sender in [first, second] {
            // Messages for one node and messages for all are in one order.
            let to = (number % 3 == 0).then_some(receiver);
            sender.say(to, number)?;
        }
        if number % 16 == 0 {
            tokio::task::yield_now().await;
        }
    }
    for sender in [first, second] {
        receiver.hears(sender, MESSAGES - 1).await?;
        let seen = receiver.inbox.read(|record| record.numbers(&sender.id));
        if !seen.is_sorted() {
            return Err(format!("not in order: {}", around_disorder(&seen)));
        }
        if seen.len() as u64 != MESSAGES {
            return Err(format!(
                "{} of {MESSAGES} messages came before the last",
                seen.len()
            ));
        }
    }
    Ok(())
}

pub(super) async fn at_most_once(subject: &impl Subject) -> Checked {
    let nodes = Node::cluster(subject, 3).await?;
    // The last ones are fences.
    for number in 0..100 {
        for node in &nodes {
            node.say(None, number)?;
        }
    }
    for receiver in &nodes {
        for sender in nodes.iter().filter(|sender| sender.id != receiver.id) {
            receiver.hears(sender, 99).await?;
        }
        let own = receiver.inbox.read(|record| record.numbers(&receiver.id));
        if !own.is_empty() {
            return Err(format!("a node gets {} of its own messages", own.len()));
        }
        for sender in nodes.iter().filter(|sender| sender.id != receiver.id) {
            let seen = receiver.inbox.read(|record| record.numbers(&sender.id));
            let different: HashSet<_> = seen.iter().collect();
            if different.len() != seen.len() {
                let more = seen.len() - different.len();
                return Err(format!("{more} messages came more than once"));
            }
        }
    }
    Ok(())
}

pub(super) async fn addressed(subject: &impl Subject) -> Checked {
    let nodes = Node::cluster(subject, 3).await?;
    let [sender, target, other] = three(&nodes)?;
    for number in 0..10 {
        sender.say(Some(target), number)?;
    }
    sender.say(None, 10)?;
    for node in [target, other] {
        node.hears(sender, 10).await?;
    }
    let expected: Vec<u64> = (0..=10).collect();
    let seen = target.inbox.read(|record| record.numbers(&sender.id));
    if seen != expected {
        return Err(format!("the node that is meant gets {seen:?}"));
    }
    let seen = other.inbox.read(|record| record.numbers(&sender.id));
    if seen != [10] {
        return Err(format!("a node that is not meant gets {seen:?}"));
    }
    Ok(())
}

pub(super) async fn unchanged(subject: &impl Subject) -> Checked {
    let nodes = Node::cluster(subject, 2).await?;
    let [sender, receiver] = pair(&nodes)?;
    let sent: Vec<ClusterMessage> = bodies()
        .into_iter()
        .flat_map(|body| {
            [None, Some(receiver.id.clone())]
                .map(|to| ClusterMessage::new(sender.id.clone(), to, "/chat".into(), body.clone()))
        })
        .collect();
    for message in &sent {
        sender
            .adapter
            .publish(message.clone())
            .map_err(|error| format!("{message:?} is not taken: {error}"))?;
    }
    sender.say(None, 0)?;
    receiver.hears(sender, 0).await?;
    let came = receiver.inbox.read(|record| {
        let messages = record.messages.iter();
        messages
            .filter(|message| number(message).is_none())
            .map(|message| format!("{message:?}"))
            .collect::<Vec<_>>()
    });
    for (index, message) in sent.iter().enumerate() {
        let expected = format!("{message:?}");
        if came.get(index) != Some(&expected) {
            return Err(format!("{expected} became {:?}", came.get(index)));
        }
    }
    Ok(())
}

pub(super) async fn loss_is_told(subject: &impl Subject) -> Checked {
    for fault in [None, Some(0), Some(1)] {
        let nodes = Node::cluster(subject, 2).await?;
        let [sender, receiver] = pair(&nodes)?;
        let cut = fault.and_then(|index| nodes.get(index));
        let mut taken = Vec::new();
        for number in 0..FLOOD {
            if number == FLOOD / 2
                && let Some(node) = cut
            {
                subject.cut(&node.id).await;
            }
            if sender.publish_large(None, number, 1_000).is_ok() {
                taken.push(number);
            }
            if number % 64 == 0 {
                tokio::task::yield_now().await;
            }
        }
        if let Some(node) = cut {
            subject.restore(&node.id).await;
        }
        fence(sender, receiver).await?;
        let seen: HashSet<_> = receiver
            .inbox
            .read(|record| record.numbers(&sender.id).into_iter().collect());
        let lost = taken.iter().filter(|number| !seen.contains(number)).count();
        let is_told = [sender, receiver]
            .iter()
            .any(|node| node.inbox.read(|record| record.has_loss()));
        if lost > 0 && !is_told {
            let who = ["nobody", "the sender", "the receiver"];
            let who = who[fault.map_or(0, |index| index + 1)];
            return Err(format!(
                "{lost} messages were taken and lost ({who} was cut off), and no signal says so"
            ));
        }
    }
    Ok(())
}

pub(super) async fn comes_back(subject: &impl Subject) -> Checked {
    let nodes = Node::cluster(subject, 2).await?;
    let [first, second] = pair(&nodes)?;
    subject.cut(&second.id).await;
    second.told("link_lost").await?;
    subject.restore(&second.id).await;
    second.told("link_restored").await?;
    fence(first, second).await?;
    fence(second, first).await
}

pub(super) async fn members(subject: &impl Subject) -> Checked {
    let mut nodes = Node::cluster(subject, 3).await?;
    check_members(&nodes)?;
    let fourth = Node::attach(subject)?;
    let (joined, left) = (
        Signal::NodeJoined(fourth.id.clone()),
        Signal::NodeLeft(fourth.id.clone()),
    );
    let id = fourth.id.clone();
    nodes.push(fourth);
    for node in nodes.iter().filter(|node| node.id != id) {
        node.until("a node to be noticed", || {
            node.adapter.nodes().contains(&id)
        })
        .await?;
        told_of(node, &joined).await?;
    }
    let fourth = nodes.pop().ok_or("a cluster without nodes")?;
    fourth
        .until("a new node to know the others", || {
            fourth.adapter.nodes().len() == nodes.len()
        })
        .await?;
    fourth.adapter.close();
    for node in &nodes {
        node.until("a node to be gone", || !node.adapter.nodes().contains(&id))
            .await?;
        told_of(node, &left).await?;
    }
    check_members(&nodes)
}

pub(super) async fn distrust(subject: &impl Subject) -> Checked {
    let nodes = Node::cluster(subject, 2).await?;
    let [sender, receiver] = pair(&nodes)?;
    let limits = ClusterLimits::default();
    let bodies = bodies();
    let body = bodies.first().ok_or("no body to cut short")?;
    let good = ClusterMessage::new(sender.id.clone(), None, "/".into(), body.clone());
    let good = encode_cluster_message(&good, &limits).map_err(|error| error.to_string())?;
    let bad = [
        Bytes::from_static(b"\xff\xff\xff\xff"),
        Bytes::from_static(b"{\"json\": true}"),
        good.slice(..good.len() / 2),
        Bytes::from([&good[..], b"\x00"].concat()),
        Bytes::from(vec![1; limits.message_bytes_max + 1]),
    ];
    let expected = bad.len();
    for bytes in bad {
        subject.inject(&receiver.id, bytes).await;
    }
    receiver
        .until("bad bytes to be refused", || {
            receiver.inbox.read(|record| record.refused.len()) >= expected
        })
        .await?;
    fence(sender, receiver).await?;
    let came = receiver.inbox.read(|record| {
        let messages = record.messages.iter();
        messages.filter(|message| number(message).is_none()).count()
    });
    if came > 0 {
        return Err(format!("{came} messages were made of bytes that are none"));
    }
    let refused = receiver.inbox.read(|record| record.refused.len());
    if refused != expected {
        return Err(format!("{refused} refusals for {expected} bad messages"));
    }
    Ok(())
}

pub(super) async fn bounded(subject: &impl Subject) -> Checked {
    let nodes = Node::cluster(subject, 2).await?;
    let [sender, _] = pair(&nodes)?;
    subject.cut(&sender.id).await;
    let max = subject.queue_messages_max() as u64;
    let is_refused = (0..=max).any(|number| sender.publish(None, number).is_err());
    if is_refused {
        Ok(())
    } else {
        Err(format!(
            "{} messages are taken while the link is cut, {max} may wait",
            max + 1
        ))
    }
}

pub(super) async fn closed(subject: &impl Subject) -> Checked {
    let nodes = Node::cluster(subject, 3).await?;
    let [leaving, first, second] = three(&nodes)?;
    for number in 0..100 {
        leaving.say(None, number)?;
    }
    leaving.adapter.close();
    leaving.adapter.close();
    let late = leaving.publish(None, 100);
    expect(&late, &Err(AdapterError::Closed), "publish after close")?;
    for node in [first, second] {
        // What was published before is sent still.
        node.hears(leaving, 99).await?;
        told_of(node, &Signal::NodeLeft(leaving.id.clone())).await?;
    }
    let before = leaving.inbox.read(|record| record.messages.len());
    fence(first, second).await?;
    let after = leaving.inbox.read(|record| record.messages.len());
    if after != before {
        return Err("a message is delivered to a node that has left".to_owned());
    }
    Ok(())
}

/// Publishes until a message is taken and has arrived: what was published before has then arrived too, or is lost.
async fn fence(sender: &Node, receiver: &Node) -> Checked {
    let mut number = FENCES;
    sender
        .until("a message to be taken", || {
            sender.publish(None, FENCES).is_ok()
        })
        .await?;
    // A link that has only just come back may lose the first ones.
    for _ in 0..3 {
        if receiver.hears(sender, number).await.is_ok() {
            return Ok(());
        }
        number += 1;
        let _ = sender.publish(None, number);
    }
    Err("nothing arrives any more".to_owned())
}

async fn told_of(node: &Node, signal: &Signal) -> Checked {
    node.until(&format!("the signal {signal:?}"), || {
        node.inbox.read(|record| record.signals.contains(signal))
    })
    .await
}

fn check_members(nodes: &[Node]) -> Checked {
    for node in nodes {
        let named = node.adapter.nodes();
        let mut counts: HashMap<&NodeId, usize> = HashMap::new();
        for each in &named {
            *counts.entry(each).or_default() += 1;
        }
        let others = nodes.iter().filter(|other| other.id != node.id);
        let is_right = others
            .clone()
            .all(|other| counts.get(&other.id) == Some(&1));
        if !is_right || named.len() != others.count() {
            return Err(format!(
                "{} says that the other nodes are {named:?}",
                node.id
            ));
        }
    }
    Ok(())
}

fn expect(
    seen: &Result<(), AdapterError>,
    expected: &Result<(), AdapterError>,
    what: &str,
) -> Checked {
    if seen == expected {
        Ok(())
    } else {
        Err(format!("{what} gives {seen:?}, not {expected:?}"))
    }
}

fn pair(nodes: &[Node]) -> Checked<[&Node; 2]> {
    match nodes {
        [first, second] => Ok([first, second]),
        _ => Err("not two nodes".to_owned()),
    }
}

fn three(nodes: &[Node]) -> Checked<[&Node; 3]> {
    match nodes {
        [first, second, third] => Ok([first, second, third]),
        _ => Err("not three nodes".to_owned()),
    }
}

fn around_disorder(numbers: &[u64]) -> String {
    let disorder = numbers
        .windows(2)
        .find(|pair| pair.first() > pair.last())
        .unwrap_or_default();
    format!("{disorder:?}")
}

/// One of each kind of message, with all that can be in it.
fn bodies() -> Vec<ClusterBody> {
    let text = ByteString::from_static;
    let audience = || Audience {
        rooms: vec![text("a"), text("h\u{e9}")],
        except: vec![text("b")],
    };
    let request = || RequestId::random();
    let args = |parser| {
        let value = Value::Object(vec![
            ("text".into(), "\u{1f600} \"quoted\"".into()),
            ("data".into(), Bytes::from_static(b"\x00\xff").into()),
            ("number".into(), 1.5.into()),
            ("nothing".into(), Value::Null),
        ]);
        Args::from_values(parser, &[value, 7.into()]).expect("a value can be sent")
    };
    let broadcast = |parser, volatile, ack| ClusterBody::Broadcast {
        audience: audience(),
        event: text("news"),
        args: args(parser),
        flags: Flags {
            volatile,
            compress: !volatile,
        },
        ack,
    };
    let ack = AckRequest {
        request: request(),
        timeout_ms: 1_234,
    };
    vec![
        broadcast(Parser::Json, true, None),
        broadcast(Parser::Msgpack, false, Some(ack)),
        ClusterBody::SocketsJoin {
            audience: audience(),
            rooms: vec![text("x"), text("y")],
        },
        ClusterBody::SocketsLeave {
            audience: audience(),
            rooms: vec![text("x")],
        },
        ClusterBody::DisconnectSockets {
            audience: audience(),
            scope: DisconnectScope::Session,
        },
        ClusterBody::FetchSockets {
            request: request(),
            audience: Audience::default(),
        },
        ClusterBody::FetchSocketsReply {
            request: request(),
            sockets: vec![SocketRecord {
                id: Sid::random(),
                rooms: vec![text("a")],
                data: Value::Array(vec![1.into(), Value::Null]),
            }],
            last: true,
        },
        ClusterBody::ServerSideEmit {
            request: Some(request()),
            event: text("refresh"),
            args: args(Parser::Json),
        },
        ClusterBody::ServerSideReply {
            request: request(),
            answer: Answer::Given(args(Parser::Json)),
        },
        ClusterBody::BroadcastAckCount {
            request: request(),
            count: Some(2),
            sockets: vec![Sid::random(), Sid::random()],
        },
        ClusterBody::BroadcastAck {
            request: request(),
            socket: Sid::random(),
            answer: Answer::Failed(Fault::Disconnected),
        },
    ]
}

const MESSAGES: u64 = 500;
const FLOOD: u64 = 4_000;
/// Above all numbers that rules count.
const FENCES: u64 = 1_000_000_000;
