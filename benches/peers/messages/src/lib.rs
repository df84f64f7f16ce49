//! The few messages of the benchmark, as bytes: what the two floors have in common.
//!
//! A floor is the least that a server could do. So there is no JSON here, no session, no heartbeat and no limit:
//! bytes of a client go in, and finished frames come out. Knows nothing of sockets and threads; a hub, which the floor
//! brings, knows who is in which room. **Not a server for anything but measuring**: it trusts its clients.

mod frame;
mod handshake;
mod message;

use std::ops::Range;

pub use crate::handshake::{Handshake, handshake};
use crate::{
    frame::{Frame, append_text},
    message::Message,
};

/// Who is in which room, and how the others are reached. Always called for one client, the one that is being read.
pub trait Hub {
    /// The client enters `room`.
    fn join(&mut self, room: &[u8]);
    /// True when the client is in `room`.
    fn is_member(&self, room: &[u8]) -> bool;
    /// Writes `frames` to all members of `room` but the client, whose own copy stands among its answers.
    fn publish(&mut self, room: &[u8], frames: &[u8]);
}

/// What is to be done with the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// The client may go on.
    Keep,
    /// The client closed, or is none of ours.
    Close,
}

/// Room for what one read brings: shared by all connections, so that an idle one holds nothing.
#[derive(Default)]
pub struct Turn {
    /// What the client itself is answered, to be written at the end of the turn, at once.
    pub answers: Vec<u8>,
    /// Broadcasts of this turn that are not published yet, and the room they are meant for.
    held: Vec<u8>,
    held_room: Vec<u8>,
}

impl Turn {
    /// Answers all whole frames of `input`; says how many bytes of it are done with.
    ///
    /// Broadcasts to one room that follow each other are published together. `answers` is appended to.
    pub fn take(&mut self, input: &mut [u8], hub: &mut impl Hub) -> (usize, Then) {
        let mut taken = 0;
        let mut then = Then::Keep;
        while let Frame::Whole {
            opcode,
            payload,
            length,
        } = frame::next(input.get_mut(taken..).unwrap_or_default())
        {
            let payload: Range<usize> = taken + payload.start..taken + payload.end;
            taken += length;
            let payload = input.get(payload).unwrap_or_default();
            match opcode {
                frame::TEXT => self.message(payload, hub),
                frame::PING => frame::append(&mut self.answers, frame::PONG, &[payload]),
                frame::CLOSE => {
                    frame::append(&mut self.answers, frame::CLOSE, &[payload]);
                    then = Then::Close;
                    break;
                }
                _ => {}
            }
        }
        self.publish_held(hub);
        (taken, then)
    }

    fn message(&mut self, payload: &[u8], hub: &mut impl Hub) {
        match message::parse(payload) {
            Message::Connect => {
                append_text(
                    &mut self.answers,
                    &[b"40{\"sid\":\"", &handshake::id(), b"\"}"],
                );
            }
            Message::Echo { id, quoted } => {
                append_text(&mut self.answers, &[b"42[\"echo\",", quoted, b"]"]);
                if !id.is_empty() {
                    append_text(&mut self.answers, &[b"43", id, b"[", quoted, b"]"]);
                }
            }
            Message::Join { id, room } => {
                self.publish_held(hub);
                hub.join(room);
                append_text(&mut self.answers, &[b"43", id, b"[]"]);
            }
            Message::Broadcast {
                room,
                quoted,
                times,
            } => self.broadcast(room, quoted, times, hub),
            Message::Other => {}
        }
    }

    fn broadcast(&mut self, room: &[u8], quoted: &[u8], times: usize, hub: &mut impl Hub) {
        if self.held_room != room {
            self.publish_held(hub);
            self.held_room.extend_from_slice(room);
        }
        let from = self.held.len();
        append_text(&mut self.held, &[b"42[\"msg\",", quoted, b"]"]);
        let length = self.held.len() - from;
        for _ in 1..times {
            self.held.extend_from_within(from..from + length);
        }
        if hub.is_member(room) {
            self.answers
                .extend_from_slice(self.held.get(from..).unwrap_or_default());
        }
    }

    fn publish_held(&mut self, hub: &mut impl Hub) {
        if !self.held.is_empty() {
            hub.publish(&self.held_room, &self.held);
            self.held.clear();
        }
        self.held_room.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Noted {
        rooms: Vec<Vec<u8>>,
        published: Vec<(String, String)>,
    }

    impl Hub for Noted {
        fn join(&mut self, room: &[u8]) {
            self.rooms.push(room.to_vec());
        }
        fn is_member(&self, room: &[u8]) -> bool {
            self.rooms.iter().any(|joined| joined == room)
        }
        fn publish(&mut self, room: &[u8], frames: &[u8]) {
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            self.published.push((text(room), text(frames)));
        }
    }

    /// A masked text frame, as a client sends it.
    fn masked(text: &str) -> Vec<u8> {
        let mask = [1, 2, 3, 4];
        let mut frame = vec![0x81, 0x80 | u8::try_from(text.len()).unwrap()];
        frame.extend_from_slice(&mask);
        frame.extend(
            text.bytes()
                .zip(mask.iter().cycle())
                .map(|(byte, key)| byte ^ key),
        );
        frame
    }

    fn turn(texts: &[&str], hub: &mut Noted) -> String {
        let mut turn = Turn::default();
        let mut input: Vec<u8> = texts.iter().flat_map(|text| masked(text)).collect();
        assert_eq!(turn.take(&mut input, hub), (input.len(), Then::Keep));
        String::from_utf8_lossy(&turn.answers).into_owned()
    }

    #[test]
    fn an_echo_is_emitted_and_acknowledged_if_asked() {
        let mut hub = Noted::default();
        assert_eq!(
            turn(&["42[\"echo\",\"a\"]", "427[\"echo\",\"b\"]"], &mut hub),
            "\u{fffd}\u{e}42[\"echo\",\"a\"]\u{fffd}\u{e}42[\"echo\",\"b\"]\u{fffd}\u{8}437[\"b\"]"
        );
    }

    #[test]
    fn broadcasts_to_one_room_are_published_together_and_reach_the_sender_in_order() {
        let mut hub = Noted::default();
        let answers = turn(
            &[
                "420[\"join\",\"r\"]",
                "42[\"bcast\",\"r\",\"a\"]",
                "42[\"bcastn\",\"r\",\"b\",2]",
                "42[\"echo\",\"e\"]",
                "42[\"bcast\",\"q\",\"c\"]",
            ],
            &mut hub,
        );
        let message = |payload: &str| format!("\u{fffd}\r42[\"msg\",\"{payload}\"]");
        let three = format!("{}{}{}", message("a"), message("b"), message("b"));
        assert_eq!(
            answers,
            format!("\u{fffd}\u{5}430[]{three}\u{fffd}\u{e}42[\"echo\",\"e\"]")
        );
        assert_eq!(
            hub.published,
            [("r".to_owned(), three), ("q".to_owned(), message("c"))]
        );
    }

    #[test]
    fn half_a_frame_waits_for_its_rest() {
        let mut turn = Turn::default();
        let mut hub = Noted::default();
        let mut input = masked("42[\"echo\",\"a\"]");
        let whole = input.len();
        input.extend_from_slice(&[0x81, 0x85, 1]);
        assert_eq!(turn.take(&mut input, &mut hub), (whole, Then::Keep));
        for length in 0..whole {
            let mut part = masked("42[\"echo\",\"a\"]");
            assert_eq!(
                turn.take(&mut part[..length], &mut hub),
                (0, Then::Keep),
                "{length}"
            );
        }
    }

    #[test]
    fn a_close_is_answered_and_ends_the_connection() {
        let mut turn = Turn::default();
        let mut input = vec![0x88, 0x80, 0, 0, 0, 0];
        let (_, then) = turn.take(&mut input, &mut Noted::default());
        assert_eq!(
            (then, turn.answers.as_slice()),
            (Then::Close, &[0x88, 0][..])
        );
    }
}
