//! `[features.…]` and its messages as they stand in the file.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::table::{Table, Value, shortened};
use crate::diagnostic::Code;
use crate::limits::{MESSAGES_MAX, OLDER_MAX};
use crate::pattern::{PatternError, RoomPattern};
use crate::settings::{Kind, Sender, Tabs};
use crate::source::{At, Report};

const DELAY: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(10);
const WINDOW_MESSAGES: RangeInclusive<u32> = 1..=1_000_000;
const WINDOW_AGE: RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_secs(3_650 * 86_400);
const WINDOW_BYTES: RangeInclusive<u64> = 1_024..=64 * 1024 * 1024 * 1024;
const THRESHOLD: RangeInclusive<Duration> =
    Duration::from_millis(100)..=Duration::from_secs(86_400);
const LINGER: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(3_600);
const VERSION: RangeInclusive<u32> = 1..=1_000_000;
const MESSAGE_BYTES: RangeInclusive<u64> = 2..=64 * 1024 * 1024;
const RATE: RangeInclusive<u32> = 1..=100_000;

const SENDERS: [(&str, Sender); 2] = [("client", Sender::Client), ("backend", Sender::Backend)];
const TABS: [(&str, Tabs); 2] = [("each", Tabs::Each), ("one", Tabs::One)];

/// One feature.
#[derive(Debug)]
pub(crate) struct FeatureNode {
    pub(crate) name: At<String>,
    pub(crate) kind: Option<At<Kind>>,
    pub(crate) room: Option<At<RoomPattern>>,
    pub(crate) delay: Option<At<Duration>>,
    pub(crate) replay: Option<At<WindowNode>>,
    pub(crate) show: ShowNode,
    pub(crate) tabs: Option<At<Tabs>>,
    /// There, perhaps with a `linger`.
    pub(crate) presence: Option<Option<At<Duration>>>,
    pub(crate) messages: Vec<MessageNode>,
}

/// `replay`.
#[derive(Debug, Default)]
pub(crate) struct WindowNode {
    pub(crate) messages: Option<At<u32>>,
    pub(crate) age: Option<At<Duration>>,
    pub(crate) bytes: Option<At<u64>>,
    /// True when something stands in it, right or wrong.
    pub(crate) is_bounded: bool,
}

/// `show`.
#[derive(Debug, Default)]
pub(crate) struct ShowNode {
    pub(crate) slow: Option<At<Duration>>,
    pub(crate) reconnecting: Option<At<Duration>>,
    pub(crate) offline: Option<At<Duration>>,
    pub(crate) stale: Option<At<Duration>>,
}

/// One message type.
#[derive(Debug)]
pub(crate) struct MessageNode {
    pub(crate) name: At<String>,
    pub(crate) kind: Option<At<Kind>>,
    pub(crate) from: Option<At<Sender>>,
    pub(crate) version: Option<At<u32>>,
    pub(crate) schema: Option<At<String>>,
    pub(crate) older: Vec<OlderNode>,
    pub(crate) max: Option<At<u64>>,
    /// `per_second` and `burst`, if there is a rate at all.
    pub(crate) per_second: Option<At<u32>>,
    pub(crate) burst: Option<At<u32>>,
}

/// One older version of a message.
#[derive(Debug)]
pub(crate) struct OlderNode {
    pub(crate) version: At<u32>,
    pub(crate) schema: Option<At<String>>,
    pub(crate) up: Option<At<String>>,
    pub(crate) down: Option<At<String>>,
}

impl FeatureNode {
    pub(crate) fn read(name: At<String>, mut table: Table<'_>, report: &mut Report) -> Self {
        let kind = table.require("kind", "\"log\"", report);
        let room = table.require("room", &format!("\"{}/{{org}}\"", name.value), report);
        let mut node = Self {
            kind: kind.and_then(|kind| kind.choice(&Kind::ALL, report)),
            room: room.and_then(|room| read_pattern(&room, table.source, report)),
            delay: table.duration("delay", DELAY, report),
            replay: read_window(table.take("replay"), report),
            show: ShowNode::default(),
            tabs: table.choice("tabs", &TABS, report),
            presence: None,
            messages: Vec::new(),
            name,
        };
        if let Some(mut show) = table.table("show", report) {
            node.show = ShowNode {
                slow: show.duration("slow", THRESHOLD, report),
                reconnecting: show.duration("reconnecting", THRESHOLD, report),
                offline: show.duration("offline", THRESHOLD, report),
                stale: show.duration("stale", THRESHOLD, report),
            };
            show.finish(report);
        }
        if let Some(mut presence) = table.table("presence", report) {
            node.presence = Some(presence.duration("linger", LINGER, report));
            presence.finish(report);
        }
        if let Some(messages) = table.table("messages", report) {
            for (name, table) in messages.entries(MESSAGES_MAX, "messages", report) {
                node.messages.push(MessageNode::read(name, table, report));
            }
        }
        node.messages.sort_by_key(|message| message.name.span.start);
        table.finish(report);
        node
    }
}

impl MessageNode {
    fn read(name: At<String>, mut table: Table<'_>, report: &mut Report) -> Self {
        let mut node = Self {
            name,
            kind: table.choice("kind", &Kind::ALL, report),
            from: table.choice("from", &SENDERS, report),
            version: table.integer("version", VERSION, report),
            schema: owned(table.string("schema", report)),
            older: Vec::new(),
            max: table.size("max", MESSAGE_BYTES, report),
            per_second: None,
            burst: None,
        };
        if let Some(older) = table.table("older", report) {
            node.older = read_older(older, report);
        }
        if let Some(mut rate) = table.table("rate", report) {
            node.per_second = rate.integer("per_second", RATE, report);
            node.burst = rate.integer("burst", RATE, report);
            rate.finish(report);
        }
        table.finish(report);
        node
    }
}

fn read_pattern(
    value: &Value<'_>,
    source: &crate::source::Source,
    report: &mut Report,
) -> Option<At<RoomPattern>> {
    let text = value.string(report)?;
    match text.value.parse::<RoomPattern>() {
        Ok(pattern) => Some(At::new(pattern, text.span)),
        Err(error) => {
            let code = match error {
                PatternError::Claim(_) => Code::UnknownClaim,
                _ => Code::Pattern,
            };
            report.push(source.diagnostic(
                code,
                &text.span,
                format!("`{}` is not a room pattern", shortened(text.value)),
                error.to_string(),
            ));
            None
        }
    }
}

fn read_window(value: Option<Value<'_>>, report: &mut Report) -> Option<At<WindowNode>> {
    let value = value?;
    let mut table = value.table(report)?;
    let present = ["messages", "age", "bytes"].map(|key| table.take(key));
    let is_bounded = present.iter().any(Option::is_some);
    let [messages, age, bytes] = present;
    let window = WindowNode {
        messages: messages.and_then(|value| value.integer(WINDOW_MESSAGES, report)),
        age: age.and_then(|value| value.duration(WINDOW_AGE, report)),
        bytes: bytes.and_then(|value| value.size(WINDOW_BYTES, report)),
        is_bounded,
    };
    let span = table.span.clone();
    table.finish(report);
    Some(At::new(window, span))
}

fn read_older(table: Table<'_>, report: &mut Report) -> Vec<OlderNode> {
    let source = table.source;
    let span = table.span.clone();
    let entries = table.numbered(report);
    if entries.len() > OLDER_MAX {
        report.push(source.diagnostic(
            Code::TooMany,
            &span,
            format!(
                "{} older versions, and {OLDER_MAX} are possible",
                entries.len()
            ),
            "give up the oldest: clients that still send them are told `outdated`",
        ));
        return Vec::new();
    }
    let mut older = Vec::new();
    for (version, mut table) in entries {
        let schema = table.require("schema", "\"contracts/….json\"", report);
        let up = table.require("up", "\"contracts/….json\"", report);
        older.push(OlderNode {
            version,
            schema: owned(schema.and_then(|value| value.string(report))),
            up: owned(up.and_then(|value| value.string(report))),
            down: owned(table.string("down", report)),
        });
        table.finish(report);
    }
    older
}

fn owned(text: Option<At<&str>>) -> Option<At<String>> {
    text.map(|text| At::new(text.value.to_owned(), text.span))
}
