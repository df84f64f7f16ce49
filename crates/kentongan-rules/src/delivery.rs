//! From a grant to a plan: what has to be done with one message. Pure: the same grant always gives the same plan.

use std::time::Duration;

use crate::rules::{Grant, Room};
use crate::settings::Kind;

/// What is to be done with one message.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Plan<'r> {
    /// When the sender is answered.
    pub reply: Reply,
    /// True when it goes into the room's log first, and nobody gets it before.
    pub append: bool,
    /// Who gets it.
    pub targets: Targets<'r>,
    /// What a slow consumer means for it.
    pub class: Class,
    /// How long it may wait for others, so that they go out together.
    pub hold: Duration,
}

/// When the sender is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reply {
    /// With its position, once the store has it.
    Position,
    /// At once. Nothing is promised.
    Taken,
}

/// Who gets a message.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Targets<'r> {
    /// Everyone in the room.
    Room(&'r str),
    /// Everyone in the room but the socket that sent it.
    RoomButSender(&'r str),
}

/// What happens to a message when its recipient is slow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Class {
    /// It is never dropped in silence: the recipient catches up from the log.
    Reliable,
    /// It is dropped.
    Volatile,
}

/// The plan for a granted message.
#[must_use]
pub fn plan<'r>(grant: &'r Grant<'r>) -> Plan<'r> {
    let room: &'r Room<'r> = grant.room();
    match grant.message().kind() {
        // The sender gets it too: without it there would be a hole in the offsets that it sees.
        Kind::Log => Plan {
            reply: Reply::Position,
            append: true,
            targets: Targets::Room(room.name()),
            class: Class::Reliable,
            hold: room.feature().delay(),
        },
        Kind::Signal => Plan {
            reply: Reply::Taken,
            append: false,
            targets: Targets::RoomButSender(room.name()),
            class: Class::Volatile,
            hold: room.feature().delay(),
        },
    }
}
