//! Sessions on a fake clock. The simulator in kentongan-testkit covers the interleavings; these cover the rules.

mod heartbeat;
mod matrix;
mod outbox;
mod polling;
mod upgrade;

use std::time::{Duration, Instant};

use bytes::BytesMut;

use super::*;

/// A session, its config, and a clock that only moves when told.
struct Bench {
    session: Session,
    config: SessionConfig,
    start: Instant,
    now: Instant,
}

impl Bench {
    fn new(transport: Transport) -> Self {
        let start = Instant::now();
        Self {
            session: Session::new(transport, start),
            config: SessionConfig::default(),
            start,
            now: start,
        }
    }

    fn polling() -> Self {
        Self::new(Transport::Polling)
    }

    fn websocket() -> Self {
        Self::new(Transport::WebSocket)
    }

    /// Lets time pass, doing everything at the moment when it is due.
    fn advance(&mut self, ms: u64) {
        let end = self.now + Duration::from_millis(ms);
        while let Some(due) = self
            .session
            .poll_timeout(&self.config)
            .filter(|due| *due <= end)
        {
            assert!(due >= self.now, "a deadline in the past was not handled");
            self.now = due;
            self.session.handle_timeout(&self.config, due);
            let next = self.session.poll_timeout(&self.config);
            assert!(
                next.is_none_or(|next| next > due),
                "a deadline was handled and is still due"
            );
        }
        self.now = end;
    }

    fn elapsed_ms(&self) -> u128 {
        self.now.duration_since(self.start).as_millis()
    }

    fn get(&mut self) -> Result<(), RequestError> {
        self.session.handle_get(&self.config, self.now)
    }

    /// The body of the parked GET, if it is answered now.
    fn body(&mut self) -> Option<String> {
        let mut out = BytesMut::new();
        let answered = self.session.poll_get(self.now, &mut out);
        assert_eq!(
            answered,
            !out.is_empty(),
            "a body comes with an answer, and only then"
        );
        answered.then(|| String::from_utf8(out.to_vec()).expect("polling bodies are text"))
    }

    fn packet(&mut self, packet: &Packet<'_>) -> Received {
        self.session
            .handle_packet(&self.config, self.now, self.session.transport(), packet)
    }

    fn send(&mut self, text: &str) -> Sent {
        self.session.send(
            &self.config,
            self.now,
            Frame::message(text, &[]),
            Class::Reliable,
        )
    }

    fn send_volatile(&mut self, text: &str) -> Sent {
        self.session.send(
            &self.config,
            self.now,
            Frame::message(text, &[]),
            Class::Volatile,
        )
    }

    fn probe(&mut self) -> Result<ProbeId, RequestError> {
        self.session.handle_probe_open(&self.config, self.now)
    }

    fn probe_packet(&mut self, id: ProbeId, packet: &Packet<'_>) -> ProbeStep {
        self.session.handle_probe_packet(self.now, id, packet)
    }

    fn upgrade(&mut self) {
        let id = self.probe().unwrap();
        assert_eq!(
            self.probe_packet(id, &Packet::Ping("probe")),
            ProbeStep::ReplyPong
        );
        assert_eq!(self.probe_packet(id, &Packet::Upgrade), ProbeStep::Upgraded);
    }

    /// Everything that the WebSocket would send now, as the polling text of each frame.
    fn transmit(&mut self) -> Vec<String> {
        let mut sent = Vec::new();
        while let Some(frame) = self.session.poll_transmit() {
            sent.push(String::from_utf8(frame.polling().to_vec()).expect("polling form is text"));
            self.session.handle_transmit_progress(self.now, frame.len());
        }
        sent
    }

    #[track_caller]
    fn assert_closed(&self, reason: CloseReason) {
        assert_eq!(self.session.reason(), Some(reason));
        assert!(self.session.is_closed());
        assert_eq!(
            self.session.outbox_bytes(),
            0,
            "a closed session holds nothing"
        );
        assert_eq!(
            self.session.poll_timeout(&self.config),
            None,
            "a closed session has no deadline"
        );
    }
}

#[test]
fn a_session_is_small_and_an_idle_one_has_no_heap() {
    assert!(size_of::<Session>() <= 200, "{}", size_of::<Session>());
    let mut bench = Bench::websocket();
    assert!(bench.session.outbox.is_unallocated() && bench.session.probes.is_unallocated());
    for _ in 0..100 {
        assert_eq!(bench.send("2[\"x\"]"), Sent::Queued);
    }
    assert!(!bench.session.outbox.is_unallocated());
    assert_eq!(bench.transmit().len(), 100);
    assert!(
        bench.session.outbox.is_unallocated(),
        "a burst leaves nothing behind"
    );
    let mut bench = Bench::polling();
    bench.upgrade();
    assert!(
        bench.session.probes.is_unallocated(),
        "an upgrade leaves nothing behind"
    );
}

#[test]
fn codes_and_client_texts_are_stable() {
    let table = [
        (RequestError::Overlap, "request_overlap", None),
        (
            RequestError::Mismatch,
            "transport_mismatch",
            Some((3, "Bad request")),
        ),
        (
            RequestError::Unknown,
            "session_unknown",
            Some((1, "Session ID unknown")),
        ),
        (
            RequestError::UpgradesDisabled,
            "upgrades_disabled",
            Some((3, "Bad request")),
        ),
        (
            RequestError::ProbesFull,
            "probes_full",
            Some((3, "Bad request")),
        ),
    ];
    for (error, code, client) in table {
        assert_eq!((error.code(), error.client()), (code, client));
    }
    let reasons = [
        (CloseReason::TransportError("detail"), "transport error"),
        (CloseReason::TransportClose, "transport close"),
        (CloseReason::PingTimeout, "ping timeout"),
        (CloseReason::ParseError, "parse error"),
        (CloseReason::ForcedClose, "forced close"),
        (CloseReason::SlowConsumer, "slow consumer"),
    ];
    for (reason, text) in reasons {
        assert_eq!(reason.to_string(), text);
        assert_eq!(
            reason.detail().is_some(),
            matches!(reason, CloseReason::TransportError(_))
        );
    }
}
