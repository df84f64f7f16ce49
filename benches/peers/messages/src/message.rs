//! The five messages of a client. They are compared, not parsed: a payload has no quotes and no backslashes in it.

/// What a client asks for. `quoted` is a payload with its quotes, `id` the digits of an ack id or nothing.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Message<'a> {
    Connect,
    Echo {
        id: &'a [u8],
        quoted: &'a [u8],
    },
    Join {
        id: &'a [u8],
        room: &'a [u8],
    },
    Broadcast {
        room: &'a [u8],
        quoted: &'a [u8],
        times: usize,
    },
    /// A heartbeat, or nothing of ours.
    Other,
}

pub(crate) fn parse(payload: &[u8]) -> Message<'_> {
    if payload.starts_with(b"40") {
        return Message::Connect;
    }
    payload
        .strip_prefix(b"42")
        .and_then(event)
        .unwrap_or(Message::Other)
}

fn event(text: &[u8]) -> Option<Message<'_>> {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (id, rest) = text.split_at(digits);
    if let Some(rest) = rest.strip_prefix(b"[\"echo\",") {
        return Some(Message::Echo {
            id,
            quoted: rest.strip_suffix(b"]")?,
        });
    }
    if let Some(rest) = rest.strip_prefix(b"[\"join\",\"") {
        return Some(Message::Join {
            id,
            room: rest.strip_suffix(b"\"]")?,
        });
    }
    if let Some(rest) = rest.strip_prefix(b"[\"bcast\",\"") {
        let (room, rest) = room(rest)?;
        return Some(Message::Broadcast {
            room,
            quoted: rest.strip_suffix(b"]")?,
            times: 1,
        });
    }
    let rest = rest.strip_prefix(b"[\"bcastn\",\"")?;
    let (room, rest) = room(rest)?;
    let comma = memchr::memrchr(b',', rest)?;
    let (quoted, times) = rest.split_at(comma);
    let times = str::from_utf8(times.get(1..)?.strip_suffix(b"]")?).ok()?;
    Some(Message::Broadcast {
        room,
        quoted,
        times: times.parse().ok()?,
    })
}

/// Splits `r","payload"]` behind the comma.
fn room(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = memchr::memchr(b'"', text)?;
    Some((text.get(..end)?, text.get(end..)?.strip_prefix(b"\",")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_told_apart() {
        let check = |text: &str, expected| assert_eq!(parse(text.as_bytes()), expected, "{text}");
        check("40", Message::Connect);
        check("40{\"token\":1}", Message::Connect);
        check("3", Message::Other);
        check("42[\"other\"]", Message::Other);
        check("42[\"echo\",\"a\"", Message::Other);
        check(
            "42[\"echo\",\"a,b]\"]",
            Message::Echo {
                id: b"",
                quoted: b"\"a,b]\"",
            },
        );
        check(
            "4217[\"join\",\"r\"]",
            Message::Join {
                id: b"17",
                room: b"r",
            },
        );
        check(
            "42[\"bcast\",\"room 1\",\"a,b\"]",
            Message::Broadcast {
                room: b"room 1",
                quoted: b"\"a,b\"",
                times: 1,
            },
        );
        check(
            "42[\"bcastn\",\"r\",\"a,b\",300]",
            Message::Broadcast {
                room: b"r",
                quoted: b"\"a,b\"",
                times: 300,
            },
        );
    }
}
