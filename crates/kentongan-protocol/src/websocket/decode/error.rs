//! Why a connection is failed, with what the peer is told (RFC 6455 section 7.1.7).

use thiserror::Error;

/// A violation by the peer. The connection is over: send a close frame with [`Self::close_code`], then drop it.
///
/// The `Display` text is for the log; the peer gets [`Self::code`] as the close reason, nothing more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ProtocolError {
    /// An opcode of 3 to 7 or 0xb to 0xf (RFC 6455 section 5.2).
    #[error("frame with a reserved opcode")]
    ReservedOpcode,
    /// RSV2, RSV3, or RSV1 where no compressed message may begin (RFC 6455 section 5.2, RFC 7692 section 6).
    #[error("frame with a reserved bit set")]
    ReservedBits,
    /// A client frame without a mask (RFC 6455 section 5.1).
    #[error("client frame without a mask")]
    UnmaskedFrame,
    /// A server frame with a mask (RFC 6455 section 5.1).
    #[error("server frame with a mask")]
    MaskedFrame,
    /// A control frame without FIN (RFC 6455 section 5.5).
    #[error("fragmented control frame")]
    FragmentedControl,
    /// A control frame of more than 125 bytes (RFC 6455 section 5.5).
    #[error("control frame of more than 125 bytes")]
    ControlTooLong,
    /// A 64-bit length with its high bit set (RFC 6455 section 5.2).
    #[error("frame length with the high bit set")]
    LengthHighBit,
    /// A length that has a shorter form (RFC 6455 section 5.2).
    #[error("frame length not in its shortest form")]
    LengthNotMinimal,
    /// A continuation frame while no message is open (RFC 6455 section 5.4).
    #[error("continuation frame without a message")]
    UnexpectedContinuation,
    /// A text or binary frame while a message is open (RFC 6455 section 5.4).
    #[error("new message inside a fragmented message")]
    ExpectedContinuation,
    /// A close frame with a payload of one byte (RFC 6455 section 5.5.1).
    #[error("close frame with half a code")]
    CloseTruncated,
    /// A close code that may not travel (RFC 6455 section 7.4).
    #[error("close frame with an invalid code")]
    CloseCodeInvalid,
    /// Text or a close reason that is not UTF-8 (RFC 6455 section 8.1).
    #[error("text that is not UTF-8")]
    InvalidUtf8,
    /// A compressed message that is not one complete deflate stream (RFC 7692 section 7.2.2).
    #[error("compressed message that does not inflate")]
    InvalidDeflate,
    /// A message over `Limits::message_bytes_max`, as announced, as received or as inflated.
    #[error("message over the size limit")]
    MessageTooBig,
    /// A message of more frames than `Limits::fragments_max`, or with more frame headers than its size allows.
    #[error("message of too many fragments")]
    TooManyFragments,
}

impl ProtocolError {
    /// The close code to send: 1002 protocol error, 1007 invalid data, 1009 too big.
    pub fn close_code(self) -> u16 {
        match self {
            Self::InvalidUtf8 | Self::InvalidDeflate => 1007,
            Self::MessageTooBig | Self::TooManyFragments => 1009,
            _ => 1002,
        }
    }

    /// A stable name, for metrics and for the reason of the close frame.
    pub fn code(self) -> &'static str {
        match self {
            Self::ReservedOpcode => "reserved_opcode",
            Self::ReservedBits => "reserved_bits",
            Self::UnmaskedFrame => "unmasked_frame",
            Self::MaskedFrame => "masked_frame",
            Self::FragmentedControl => "fragmented_control",
            Self::ControlTooLong => "control_too_long",
            Self::LengthHighBit => "length_high_bit",
            Self::LengthNotMinimal => "length_not_minimal",
            Self::UnexpectedContinuation => "unexpected_continuation",
            Self::ExpectedContinuation => "expected_continuation",
            Self::CloseTruncated => "close_truncated",
            Self::CloseCodeInvalid => "close_code_invalid",
            Self::InvalidUtf8 => "invalid_utf8",
            Self::InvalidDeflate => "invalid_deflate",
            Self::MessageTooBig => "message_too_big",
            Self::TooManyFragments => "too_many_fragments",
        }
    }
}
