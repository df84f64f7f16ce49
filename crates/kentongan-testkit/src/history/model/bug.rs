//! The bugs that can be planted, and the rule that is meant to catch each.

use crate::history::report::Rule;

macro_rules! bugs {
    ($($(#[$doc:meta])+ $bug:ident => $rule:ident,)+) => {
        /// A bug of the model's server, or of its harness.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Bug {
            $($(#[$doc])+ $bug,)+
        }

        impl Bug {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$bug,)+];

            /// The rule that has to catch it.
            #[must_use]
            pub fn rule(self) -> Rule {
                match self {
                    $(Self::$bug => Rule::$rule,)+
                }
            }
        }
    };
}

bugs! {
    /// A fault is announced, but does nothing that shows.
    FaultWithoutTrace => Vacuous,
    /// Acknowledges before it syncs, and loses that in a crash.
    AckBeforeSync => C1,
    /// Delivers something that nobody published.
    Phantom => C2,
    /// Refuses a message, and keeps it.
    AbortedRead => C3,
    /// Appends twice when the publisher is gone.
    UnknownTwice => C4,
    /// Delivers before it syncs, and gives the offset away again after a crash.
    OffsetReuse => C5,
    /// Appends a message twice.
    DuplicateAppend => C6,
    /// The final read skips a message.
    HoleInFinalRead => C7,
    /// Reserves an offset and lets the next message in front.
    StaleOrder => C8,
    /// Handles two messages of one connection the wrong way round.
    PublisherReorder => C9,
    /// Delivers two messages the wrong way round.
    SwapDeliveries => C10,
    /// Delivers the last message of a replay once more, live.
    DuplicateOnResume => C11,
    /// Begins a replay with the message that the client has.
    ResumeFromSame => C12,
    /// Begins a replay one message too late.
    ResumeSkipsOne => C12,
    /// Tells a client that could continue to begin anew.
    FalseReset => C13,
    /// Tells a client of a gap where there is none.
    FalseGap => C13,
    /// Says `complete` to a position outside of the window.
    SilentGap => C14,
    /// Looks at the offset of a position only, not at its epoch.
    WrongEpochKept => C14,
    /// Forgets one delivery.
    DropDelivery => C15,
    /// Loses the first message after a first join.
    LostSubscribeWindow => C15,
    /// Loses the first live message after a replay.
    LiveLostAtJoin => C15,
    /// Forgets the keys in a crash.
    KeyForgottenAfterRestart => C16,
    /// Calls a repetition new.
    DuplicateFlagWrong => C16,
    /// Leaves a client in the room that has lost the right.
    RevokeIgnored => C17,
    /// Asks for no right when a client returns.
    RevokeIgnoredOnReplay => C17,
    /// Serves expired tokens.
    ExpiryIgnored => C17,
    /// Takes messages without the right.
    PublishWithoutRight => C17,
    /// Delivers to another tenant.
    CrossTenantDelivery => C18,
    /// Answers with the acknowledgement of another event.
    AckToOtherEvent => C19,
    /// Acknowledges twice.
    AckTwice => C19,
    /// Never forgets the acknowledgements that it waits for.
    PendingAcksLeft => C19,
    /// Does not answer.
    Hang => C21,
    /// Takes nothing for a while after the last fault.
    StuckAfterFault => C22,
    /// Forgets about a slow client.
    BehindForever => C22,
    /// Leaves tasks behind.
    TaskLeak => C23,
    /// Begins a new epoch at a start that lost nothing.
    EpochChurn => C24,
    /// Tells nobody that a room was reset.
    ResetUntold => C24,
    /// A page of the history shows another message.
    HistoryDiffers => C25,
    /// A page of the history skips a message.
    HistorySkips => C25,
}
