//! One feature: defaults filled in, contradictions refused.

use std::ops::Range;
use std::time::Duration;

use super::Loader;
use super::contracts;
use crate::defaults;
use crate::diagnostic::Code;
use crate::limits::ENVELOPE_BYTES;
use crate::rules::{Feature, Message};
use crate::settings::{Kind, Presence, Rate, Sender, Server, Show, Tabs, Window};
use crate::source::{At, Report, Source};
use crate::syntax::feature::{FeatureNode, MessageNode};
use crate::syntax::units::{duration_text, size_text};

/// Compiles a feature. None when something is missing that nothing can stand in for; it was reported then.
pub(super) fn feature(
    node: &FeatureNode,
    server: &Server,
    loader: &mut Loader<'_>,
    report: &mut Report,
) -> Option<Feature> {
    let source = loader.source;
    let kind = node.kind.as_ref().map(|kind| kind.value);
    let replay = kind.and_then(|kind| window(node, kind, source, report));
    let delay = node.delay.as_ref().map_or(defaults::DELAY, |at| at.value);
    let show = show(node, delay, server, source, report);
    let mut messages = Vec::new();
    for message in &node.messages {
        messages.push(compile_message(
            node, kind, message, replay, server, loader, report,
        ));
    }
    Some(Feature {
        name: node.name.value.clone(),
        kind: kind?,
        room: node.room.as_ref()?.value.clone(),
        delay,
        replay,
        show,
        tabs: node.tabs.as_ref().map_or(Tabs::Each, |at| at.value),
        presence: node.presence.as_ref().map(|linger| Presence {
            linger: linger
                .as_ref()
                .map_or(defaults::PRESENCE_LINGER, |at| at.value),
        }),
        messages: messages.into_iter().collect::<Option<_>>()?,
    })
}

fn window(node: &FeatureNode, kind: Kind, source: &Source, report: &mut Report) -> Option<Window> {
    match (kind, &node.replay) {
        (Kind::Log, Some(replay)) if replay.value.is_bounded => {
            let replay = &replay.value;
            Some(Window {
                messages: replay
                    .messages
                    .as_ref()
                    .map_or(defaults::REPLAY_MESSAGES, |at| at.value),
                age: replay
                    .age
                    .as_ref()
                    .map_or(defaults::REPLAY_AGE, |at| at.value),
                bytes: replay
                    .bytes
                    .as_ref()
                    .map_or(defaults::REPLAY_BYTES, |at| at.value),
            })
        }
        (Kind::Log, replay) => {
            let span = replay.as_ref().map_or(&node.name.span, |at| &at.span);
            report.push(source.diagnostic(
                Code::NoWindow,
                span,
                format!(
                    "`{}` is a log, and does not say how much of it can be had again",
                    node.name.value
                ),
                "add `replay = { messages = 1000, age = \"7d\" }`; one bound is enough",
            ));
            None
        }
        (Kind::Signal, Some(replay)) => {
            report.push(source.diagnostic(
                Code::NotForKind,
                &replay.span,
                "a signal is not kept, so nothing of it can be had again",
                "take `replay` out, or make the feature a `log`",
            ));
            None
        }
        (Kind::Signal, None) => None,
    }
}

/// A threshold: its name, its value, and where it stands if it is not a default.
struct Threshold<'n> {
    name: &'static str,
    value: Duration,
    span: Option<&'n Range<usize>>,
}

impl<'n> Threshold<'n> {
    fn new(name: &'static str, node: Option<&'n At<Duration>>, default: Duration) -> Self {
        Self {
            name,
            value: node.map_or(default, |at| at.value),
            span: node.map(|at| &at.span),
        }
    }
}

fn show(
    node: &FeatureNode,
    delay: Duration,
    server: &Server,
    source: &Source,
    report: &mut Report,
) -> Show {
    let threshold = Threshold::new;
    let delay = Threshold {
        name: "delay",
        value: delay,
        span: node.delay.as_ref().map(|at| &at.span),
    };
    let slow = threshold("show.slow", node.show.slow.as_ref(), defaults::SHOW_SLOW);
    let reconnecting = node.show.reconnecting.as_ref();
    let reconnecting = threshold(
        "show.reconnecting",
        reconnecting,
        defaults::SHOW_RECONNECTING,
    );
    let offline = node.show.offline.as_ref();
    let offline = threshold("show.offline", offline, defaults::SHOW_OFFLINE);
    let stale = threshold("show.stale", node.show.stale.as_ref(), defaults::SHOW_STALE);
    for (shorter, longer, why) in [
        (&delay, &slow, "every message could be shown as slow"),
        (
            &reconnecting,
            &offline,
            "the user would never see `reconnecting`",
        ),
        (&slow, &stale, "the user would never see `slow`"),
    ] {
        if shorter.value >= longer.value {
            let span = longer.span.or(shorter.span).unwrap_or(&node.name.span);
            let message = format!(
                "`{}` ({}) is not shorter than `{}` ({})",
                shorter.name,
                duration_text(shorter.value),
                longer.name,
                duration_text(longer.value),
            );
            report.push(source.diagnostic(
                Code::Order,
                span,
                message,
                format!(
                    "{why}: shorten `{}` or lengthen `{}`",
                    shorter.name, longer.name
                ),
            ));
        }
    }
    let noticed = server.heartbeat.notices_after();
    if stale.value < noticed {
        let message = format!(
            "`show.stale` is {}, but a dead line is noticed after {} at worst",
            duration_text(stale.value),
            duration_text(noticed),
        );
        let way_out = format!(
            "lengthen `stale` to {}, or shorten `heartbeat` in `[server]`",
            duration_text(noticed)
        );
        let span = stale.span.unwrap_or(&node.name.span);
        report.push(source.diagnostic(Code::StaleTooShort, span, message, way_out));
    }
    Show {
        slow: slow.value,
        reconnecting: reconnecting.value,
        offline: offline.value,
        stale: stale.value,
    }
}

fn compile_message(
    feature: &FeatureNode,
    feature_kind: Option<Kind>,
    node: &MessageNode,
    window: Option<Window>,
    server: &Server,
    loader: &mut Loader<'_>,
    report: &mut Report,
) -> Option<Message> {
    let source = loader.source;
    let kind = node.kind.as_ref().map(|at| at.value).or(feature_kind);
    if let (Some(at), Some(Kind::Signal)) = (&node.kind, feature_kind)
        && at.value == Kind::Log
    {
        report.push(source.diagnostic(
            Code::NotForKind,
            &at.span,
            format!(
                "`{}` is a signal feature and has no log",
                feature.name.value
            ),
            "make the feature a `log`; its other messages can be signals",
        ));
    }
    let max = max(node, kind, window, server, source, report);
    let contract = contracts::contract(node, max, loader, report);
    let per_second = node.per_second.as_ref();
    let burst = node.burst.as_ref();
    let per_second = per_second.map_or(defaults::RATE_PER_SECOND, |at| at.value);
    Some(Message {
        name: node.name.value.clone(),
        event: format!("{}.{}", feature.name.value, node.name.value),
        kind: kind?,
        from: node.from.as_ref().map_or(Sender::Client, |at| at.value),
        rate: Rate {
            per_second,
            // Whoever allows more in each second allows it at once, too.
            burst: burst.map_or(defaults::RATE_BURST.max(per_second), |at| at.value),
        },
        contract: contract?,
        has_data: node.schema.is_some(),
    })
}

/// The largest data of a message.
fn max(
    node: &MessageNode,
    kind: Option<Kind>,
    window: Option<Window>,
    server: &Server,
    source: &Source,
    report: &mut Report,
) -> u64 {
    let max = node.max.as_ref().map_or(defaults::MAX, |at| at.value);
    let span = node.max.as_ref().map_or(&node.name.span, |at| &at.span);
    if max + ENVELOPE_BYTES > server.message_bytes_max {
        let message = format!(
            "data of {} with its envelope ({}) is more than the server takes ({})",
            size_text(max),
            size_text(ENVELOPE_BYTES),
            size_text(server.message_bytes_max),
        );
        report.push(source.diagnostic(
            Code::OverWireLimit,
            span,
            message,
            "lower `max`, or raise `message_max` in `[server]`",
        ));
    }
    if let (Some(Kind::Log), Some(window)) = (kind, window)
        && window.bytes < max + ENVELOPE_BYTES
    {
        let message = format!(
            "a window of {} does not hold one message of {} with its envelope",
            size_text(window.bytes),
            size_text(max)
        );
        report.push(source.diagnostic(
            Code::Order,
            span,
            message,
            "lower `max`, or raise `bytes` in `replay`",
        ));
    }
    max
}
