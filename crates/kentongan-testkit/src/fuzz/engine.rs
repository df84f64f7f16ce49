//! Engine.IO: packets, payloads, and the session driven by a script with a clock of its own.

use std::time::{Duration, Instant};

use bytes::BytesMut;
use kentongan_protocol::engine::packet::Packet;
use kentongan_protocol::engine::payload::{self, PayloadError, SEPARATOR};
use kentongan_protocol::engine::session::{
    Class, CloseReason, Flush, ProbeId, ProbeStep, Received, Sent, Session, SessionConfig,
    Transport,
};
use kentongan_protocol::frame::Frame;

use super::Choices;

/// One packet: what decodes is encoded to something that decodes to the same.
pub fn engine_packet(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let Ok(packet) = Packet::decode_text(text) else {
        return;
    };
    let mut out = BytesMut::new();
    packet.encode_text(&mut out);
    let encoded = std::str::from_utf8(&out).expect("a packet is text");
    assert_eq!(Packet::decode_text(encoded), Ok(packet));
}

/// A polling body: the limits hold, and its packets survive a round trip.
pub fn engine_payload(data: &[u8]) {
    let limits = super::limits();
    let iter = match payload::decode(data, &limits) {
        Ok(iter) => iter,
        Err(PayloadError::TooLarge { bytes, .. }) => {
            assert!(bytes == data.len() && bytes > limits.message_bytes_max);
            return;
        }
        Err(_) => return,
    };
    let (mut packets, mut entries) = (Vec::new(), 0);
    for item in iter {
        assert!(packets.len() == entries, "an error is the last entry");
        entries += 1;
        packets.extend(item);
    }
    assert!(entries > 0 && entries <= limits.payload_packets_max);
    if packets.is_empty() {
        return;
    }
    let mut out = BytesMut::new();
    for packet in &packets {
        if !out.is_empty() {
            out.extend_from_slice(&[SEPARATOR]);
        }
        packet.encode_text(&mut out);
    }
    // Padding that was left out comes back, so the second form may be longer.
    let mut wide = limits;
    wide.message_bytes_max *= 2;
    let again: Result<Vec<_>, _> = payload::decode(&out, &wide)
        .expect("what was encoded decodes")
        .collect();
    assert_eq!(again, Ok(packets));
}

/// A session from its handshake on: each byte is a call of the driver, possibly with a parameter byte.
pub fn engine_session(data: &[u8]) {
    let mut choices = Choices(data);
    let mut script = Script::new(choices.byte());
    while let Some(op) = choices.next() {
        let parameter = if op < 0x80 { choices.byte() } else { 0 };
        script.step(op & 0x1f, parameter);
        script.check();
    }
}

const OUTBOX_BYTES_MAX: usize = 512;
const CLOSE_REASONS: [CloseReason; 4] = [
    CloseReason::TransportError("fuzz"),
    CloseReason::TransportClose,
    CloseReason::ParseError,
    CloseReason::ForcedClose,
];

/// A session, its world, and what must be true of it.
struct Script {
    session: Session,
    config: SessionConfig,
    now: Instant,
    probes: Vec<ProbeId>,
    /// Numbers of the frames that were taken, and of those that came out: they come in order and without a gap.
    queued: u64,
    delivered: u64,
    /// Bytes of all pings that were handed out: they come on top of the bound.
    ping_bytes: usize,
    frame_bytes_max: usize,
    reason: Option<CloseReason>,
    was_websocket: bool,
}

impl Script {
    fn new(start: u8) -> Self {
        let now = Instant::now();
        let transport = if start & 1 == 0 {
            Transport::Polling
        } else {
            Transport::WebSocket
        };
        let config = SessionConfig {
            outbox_bytes_max: OUTBOX_BYTES_MAX,
            allow_upgrades: start & 2 == 0,
            ..SessionConfig::default()
        };
        Self {
            session: Session::new(transport, now),
            config,
            now,
            probes: Vec::new(),
            queued: 0,
            delivered: 0,
            ping_bytes: 0,
            frame_bytes_max: 0,
            reason: None,
            was_websocket: false,
        }
    }

    fn step(&mut self, op: u8, parameter: u8) {
        let (now, session) = (self.now, &mut self.session);
        match op {
            0..=3 => self.advance(op, parameter),
            4 => drop(session.handle_get(&self.config, now)),
            5 => self.take_get(),
            6 => session.handle_get_aborted(now),
            7 => drop(session.handle_post(now)),
            8 => session.handle_post_end(),
            9..=11 => self.packet(op, parameter),
            12 => self
                .probes
                .extend(session.handle_probe_open(&self.config, now)),
            13..=15 => self.probe(op, parameter),
            16..=18 => self.take_frames(parameter),
            19 => session.handle_transmit_progress(now, usize::from(parameter)),
            20 => session.handle_transmit_done(now),
            21 => session.set_writable(parameter & 1 == 0),
            22 => session.handle_websocket_closed(now, reason(parameter)),
            23..=26 => self.send(op, parameter),
            27 => session.suspend_heartbeat(now),
            28 => session.resume_heartbeat(now),
            29 => session.close(now, reason(parameter), Flush::Yes),
            30 => session.close(now, reason(parameter), Flush::No),
            _ => self.advance_to_deadline(),
        }
    }

    fn advance(&mut self, op: u8, parameter: u8) {
        let unit = [1, 50, 500, 5000][usize::from(op & 3)];
        self.now += Duration::from_millis(unit * u64::from(parameter));
        if op & 1 == 1 {
            self.timeout();
        }
    }

    fn advance_to_deadline(&mut self) {
        if let Some(at) = self.session.poll_timeout(&self.config) {
            self.now = self.now.max(at);
            self.timeout();
        }
    }

    fn timeout(&mut self) {
        self.session.handle_timeout(&self.config, self.now);
        let next = self.session.poll_timeout(&self.config);
        assert!(
            next.is_none_or(|at| at > self.now),
            "a timer that was served is not due again"
        );
    }

    fn packet(&mut self, op: u8, parameter: u8) {
        let from = if parameter & 0x10 == 0 {
            self.session.transport()
        } else {
            Transport::Polling
        };
        let was_open = self.session.is_open();
        let packet = if op == 9 {
            Packet::Pong("")
        } else {
            packet(parameter)
        };
        match self
            .session
            .handle_packet(&self.config, self.now, from, &packet)
        {
            Received::Message => assert!(was_open && self.session.is_open()),
            Received::Nothing => {}
            Received::Closed => assert!(self.session.is_closed()),
        }
    }

    fn probe(&mut self, op: u8, parameter: u8) {
        let Some(id) = self.probes.get(usize::from(parameter >> 4)).copied() else {
            return;
        };
        let was_open = self.session.is_probe_open(id);
        let packet = match op {
            13 => Packet::Ping("probe"),
            14 => Packet::Upgrade,
            _ => packet(parameter),
        };
        match self.session.handle_probe_packet(self.now, id, &packet) {
            ProbeStep::ReplyPong => assert!(was_open && self.session.is_probe_open(id)),
            ProbeStep::Upgraded => {
                assert!(was_open && self.session.transport() == Transport::WebSocket);
            }
            ProbeStep::Reject => assert!(!self.session.is_probe_open(id)),
        }
    }

    fn send(&mut self, op: u8, parameter: u8) {
        let padding = if op == 26 {
            8 * usize::from(parameter)
        } else {
            0
        };
        let frame = Frame::from_text(&format!("4{}{}", self.queued, " ".repeat(padding)));
        let class = if op == 24 {
            Class::Volatile
        } else {
            Class::Reliable
        };
        let bytes = frame.len();
        match self.session.send(&self.config, self.now, frame, class) {
            Sent::Queued => {
                self.queued += 1;
                self.frame_bytes_max = self.frame_bytes_max.max(bytes);
            }
            Sent::Dropped => assert_eq!(class, Class::Volatile),
            Sent::Overflow => {
                assert_eq!(self.session.reason(), Some(CloseReason::SlowConsumer));
            }
            Sent::Closed => assert!(!self.session.is_open()),
        }
    }

    fn take_get(&mut self) {
        let mut out = BytesMut::new();
        if !self.session.poll_get(self.now, &mut out) {
            assert!(out.is_empty());
            return;
        }
        let body = std::str::from_utf8(&out).expect("a body is text");
        assert!(!body.is_empty(), "a GET is not answered with nothing");
        for entry in body.split(char::from(SEPARATOR)) {
            self.delivered(entry);
        }
        let again = self.session.poll_get(self.now, &mut BytesMut::new());
        assert!(!again, "one GET has one answer");
    }

    fn take_frames(&mut self, parameter: u8) {
        for _ in 0..=parameter & 7 {
            let announced = self.session.has_transmit();
            let frame = self.session.poll_transmit();
            assert_eq!(frame.is_some(), announced);
            let Some(frame) = frame else {
                return;
            };
            let text = std::str::from_utf8(frame.polling()).expect("only text was sent");
            if text == "2" {
                self.ping_bytes += frame.len();
            }
            self.delivered(text);
        }
    }

    fn delivered(&mut self, entry: &str) {
        if let Some(number) = entry.strip_prefix('4') {
            assert_eq!(number.trim_end().parse(), Ok(self.delivered));
            self.delivered += 1;
        } else {
            assert!(matches!(entry, "1" | "2" | "6"), "{entry:?}");
        }
    }

    /// What holds after every call.
    fn check(&mut self) {
        let session = &self.session;
        assert!(self.delivered <= self.queued);
        let bound = OUTBOX_BYTES_MAX.max(self.frame_bytes_max) + self.ping_bytes;
        assert!(session.outbox_bytes() <= bound, "the outbox is bounded");
        assert!(!(session.is_open() && session.is_closed()));
        assert_eq!(session.is_open(), session.reason().is_none());
        if self.reason.is_some() {
            assert_eq!(session.reason(), self.reason, "the first reason stays");
        }
        self.reason = session.reason();
        let is_websocket = session.transport() == Transport::WebSocket;
        assert!(
            is_websocket || !self.was_websocket,
            "no way back to polling"
        );
        self.was_websocket = is_websocket;
        if session.is_closed() {
            assert_eq!(session.outbox_bytes(), 0);
            assert_eq!(session.poll_timeout(&self.config), None);
            assert!(!session.has_transmit() && !session.is_writable());
        } else {
            assert!(
                session.poll_timeout(&self.config).is_some(),
                "no session waits for ever"
            );
        }
    }
}

fn reason(parameter: u8) -> CloseReason {
    CLOSE_REASONS[usize::from(parameter & 3)]
}

fn packet(parameter: u8) -> Packet<'static> {
    match parameter & 7 {
        0 => Packet::Text("x"),
        1 => Packet::Binary((&[1_u8, 2][..]).into()),
        2 => Packet::Pong(""),
        3 => Packet::Ping(""),
        4 => Packet::Close,
        5 => Packet::Upgrade,
        6 => Packet::Noop,
        _ => Packet::Open("{}"),
    }
}
