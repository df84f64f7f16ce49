//! Every reason to refuse a Socket.IO packet. All are the peer's fault, and all end the session (Socket.IO 5,
//! "Packet encoding"; protocol notes 4.2, 4.3).

/// Why a message is not a valid packet.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The message has no data at all.
    #[error("empty packet")]
    Empty,
    /// The packet type is unknown.
    #[error("unknown packet type")]
    UnknownType,
    /// The number of attachments is not written as `<digits>-`.
    #[error("malformed number of attachments")]
    AttachmentCount,
    /// A binary packet that announces no attachments (CVE-2026-69185).
    #[error("binary packet without attachments")]
    ZeroAttachments,
    /// More attachments than the limit (CVE-2026-33151).
    #[error("too many attachments, at most {max} are accepted")]
    TooManyAttachments {
        /// The limit.
        max: usize,
    },
    /// Header and attachments, or a msgpack packet, are larger than a message may be.
    #[error("packet of {bytes} bytes, at most {max} are accepted")]
    TooLarge {
        /// Bytes seen so far.
        bytes: usize,
        /// The limit.
        max: usize,
    },
    /// The namespace has no leading slash or holds a control character.
    #[error("malformed namespace")]
    Namespace,
    /// The namespace name is longer than the limit.
    #[error("namespace of {bytes} bytes, at most {max} are accepted")]
    NamespaceTooLong {
        /// Bytes of the name.
        bytes: usize,
        /// The limit.
        max: usize,
    },
    /// The id is not a decimal number below 2^64.
    #[error("malformed packet id")]
    Id,
    /// An ack that does not say what it answers.
    #[error("ack without id")]
    AckWithoutId,
    /// The payload is of the wrong kind for the packet type, missing, or not allowed.
    #[error("payload does not fit the packet type")]
    Payload,
    /// The event name is neither a string nor a number (CVE-2023-32695).
    #[error("event name is neither a string nor a number")]
    EventNameType,
    /// The event name is longer than the limit.
    #[error("event name of {bytes} bytes, at most {max} are accepted")]
    EventNameTooLong {
        /// Bytes of the name.
        bytes: usize,
        /// The limit.
        max: usize,
    },
    /// The event name is one that the libraries use for themselves.
    #[error("reserved event name")]
    EventNameReserved,
    /// Not JSON.
    #[error("invalid JSON at byte {at} of the payload")]
    Json {
        /// Where, counted from the start of the payload.
        at: usize,
    },
    /// Not msgpack, or cut short.
    #[error("invalid msgpack at byte {at}")]
    Msgpack {
        /// Where.
        at: usize,
    },
    /// A msgpack extension other than those that notepack writes.
    #[error("unknown msgpack extension at byte {at}")]
    MsgpackExtension {
        /// Where.
        at: usize,
    },
    /// Text inside a msgpack packet is not UTF-8.
    #[error("invalid UTF-8 at byte {at}")]
    Utf8 {
        /// Where.
        at: usize,
    },
    /// Something follows the payload.
    #[error("data after the payload")]
    TrailingData,
    /// Arrays and objects are nested deeper than the limit.
    #[error("nested deeper than {max}")]
    TooDeep {
        /// The limit.
        max: usize,
    },
    /// An object has more keys than the limit.
    #[error("object with more than {max} keys")]
    TooManyKeys {
        /// The limit.
        max: usize,
    },
    /// A msgpack map has a key that is no string, or a JSON key that is no Unicode text.
    #[error("object key is not text")]
    Key,
    /// An object has the same key twice: validator and handler might each see another value.
    #[error("duplicate object key")]
    DuplicateKey,
    /// A placeholder is not exactly `{"_placeholder":true,"num":<index>}` (CVE-2022-2421).
    #[error("malformed placeholder")]
    PlaceholderShape,
    /// A placeholder points outside the attachments (CVE-2022-2421).
    #[error("placeholder index out of range")]
    PlaceholderIndex,
    /// Two placeholders point to the same attachment.
    #[error("placeholder index used twice")]
    PlaceholderReused,
    /// A text message while attachments are awaited.
    #[error("text message while attachments are awaited")]
    TextWhilePending,
    /// A text message in a session that speaks msgpack.
    #[error("text message in a msgpack session")]
    UnexpectedText,
    /// A binary message that no header announced (CVE-2026-69185).
    #[error("binary message that was not announced")]
    UnexpectedBinary,
}

impl DecodeError {
    /// Stable name for metrics and logs.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Empty => "packet_empty",
            Self::UnknownType => "packet_type",
            Self::AttachmentCount => "attachment_count",
            Self::ZeroAttachments => "attachments_zero",
            Self::TooManyAttachments { .. } => "attachments_too_many",
            Self::TooLarge { .. } => "packet_too_large",
            Self::Namespace => "namespace",
            Self::NamespaceTooLong { .. } => "namespace_too_long",
            Self::Id => "packet_id",
            Self::AckWithoutId => "ack_without_id",
            Self::Payload => "payload",
            Self::EventNameType => "event_name_type",
            Self::EventNameTooLong { .. } => "event_name_too_long",
            Self::EventNameReserved => "event_name_reserved",
            Self::Json { .. } => "json",
            Self::Msgpack { .. } => "msgpack",
            Self::MsgpackExtension { .. } => "msgpack_extension",
            Self::Utf8 { .. } => "utf8",
            Self::TrailingData => "trailing_data",
            Self::TooDeep { .. } => "too_deep",
            Self::TooManyKeys { .. } => "too_many_keys",
            Self::Key => "object_key",
            Self::DuplicateKey => "duplicate_key",
            Self::PlaceholderShape => "placeholder_shape",
            Self::PlaceholderIndex => "placeholder_index",
            Self::PlaceholderReused => "placeholder_reused",
            Self::TextWhilePending => "text_while_pending",
            Self::UnexpectedText => "unexpected_text",
            Self::UnexpectedBinary => "unexpected_binary",
        }
    }

    /// What a client may be told.
    pub const fn client_text(&self) -> &'static str {
        "invalid packet"
    }
}
