//! The driver of the session under test, as a server would write it: requests and WebSockets in, responses and bytes
//! out, one timer.

use std::collections::VecDeque;

use bytes::BytesMut;
use kentongan_protocol::engine::payload;
use kentongan_protocol::engine::session::{
    Class, CloseReason, Flush, ProbeId, ProbeStep, Received, Sent, SessionConfig, Transport,
};
use kentongan_protocol::frame::Frame;
use kentongan_protocol::limits::Limits;

use super::ledger::Scene;
use super::network::{Event, RequestId, ServerEvent, SocketId};
use super::plan::{Character, Fault, Micros, SECOND};
use super::subject::{Mutation, Subject};
use super::wire::{Message, Shape};

/// More than any event can cause: one above is a livelock.
const ROUNDS_MAX: u32 = 200;

#[derive(Debug)]
pub(super) struct Server {
    subject: Subject,
    config: SessionConfig,
    limits: Limits,
    /// The GET that waits for its answer.
    parked: Option<RequestId>,
    /// The GETs that were answered. In a real server each handler notices by itself that its response broke off.
    answered: Vec<RequestId>,
    posts: Vec<(RequestId, String)>,
    probes: Vec<(SocketId, ProbeId)>,
    /// The WebSocket of the session.
    carrier: Option<SocketId>,
    /// The kernel takes nothing from the carrier.
    blocked: bool,
    /// The next GET that brings packets is to break off.
    abort_answer: bool,
    /// What the kernel has been offered and not taken.
    stuck: Option<Frame>,
    /// The server does not read from the client.
    busy: bool,
    deferred: VecDeque<ServerEvent>,
    timer_at: Option<Micros>,
}

impl Server {
    pub(super) fn new(scene: &Scene, mutation: Option<Mutation>) -> Self {
        Self {
            subject: Subject::new(scene.net.instant(), mutation),
            config: scene.plan.config.clone(),
            limits: Limits::default(),
            parked: None,
            answered: Vec::new(),
            posts: Vec::new(),
            probes: Vec::new(),
            carrier: None,
            blocked: false,
            abort_answer: false,
            stuck: None,
            busy: false,
            deferred: VecDeque::new(),
            timer_at: None,
        }
    }

    pub(super) fn handle(&mut self, scene: &mut Scene, event: ServerEvent) {
        let reads = match &event {
            ServerEvent::PostRead(_) => true,
            ServerEvent::SocketMessage(id, _) | ServerEvent::SocketClosed(id) => {
                self.carrier == Some(*id)
            }
            _ => false,
        };
        if self.busy && reads {
            self.deferred.push_back(event);
        } else {
            self.step(scene, event);
        }
        self.pump(scene);
    }

    pub(super) fn handle_fault(&mut self, scene: &mut Scene, fault: Fault) {
        let now = scene.net.now;
        let instant = scene.net.instant();
        match fault {
            Fault::Busy if !self.busy => {
                self.busy = true;
                self.subject.suspend_heartbeat(instant);
                // Not longer than the patience of a stock client whose POST is not read while it upgrades.
                let busy = (scene.plan.timeout * 3 / 2).min(4 * SECOND);
                scene
                    .net
                    .at(now + busy, Event::Server(ServerEvent::ReadAgain));
            }
            Fault::Blocked if self.carrier.is_some() && !self.blocked => {
                self.block(scene, scene.plan.timeout / 4);
            }
            Fault::BlockedForLong if self.carrier.is_some() && !self.blocked => {
                scene.ledger.may_end = true;
                self.block(scene, scene.plan.interval + 2 * scene.plan.timeout);
            }
            Fault::AbortAnswer => self.abort_answer = true,
            Fault::ServerClosesFlushing => {
                scene.ledger.flush_expected = !scene.ledger.may_end;
                scene.ledger.may_end = true;
                self.subject
                    .close(instant, CloseReason::ForcedClose, Flush::Yes);
            }
            Fault::ServerClosesAtOnce => {
                scene.ledger.may_end = true;
                self.subject
                    .close(instant, CloseReason::ForcedClose, Flush::No);
            }
            _ => {}
        }
        self.pump(scene);
    }

    pub(super) fn holds_get(&self, id: RequestId) -> bool {
        self.parked == Some(id)
    }

    /// Asks the session for everything that it has to say.
    pub(super) fn pump(&mut self, scene: &mut Scene) {
        let mut rounds = 0;
        while self.answer_get(scene) | self.transmit(scene) | self.drop_probes(scene) {
            rounds += 1;
            if rounds > ROUNDS_MAX {
                return scene
                    .ledger
                    .violate("livelock: the session always has something to say");
            }
        }
        if self.subject.session.is_closed() {
            self.note_closed(scene);
        }
        self.arm_timer(scene);
    }

    fn step(&mut self, scene: &mut Scene, event: ServerEvent) {
        let now = scene.net.instant();
        match event {
            ServerEvent::Get(id) => self.handle_get(scene, id),
            ServerEvent::Post(id, body) => self.handle_post(scene, id, body),
            ServerEvent::PostRead(id) => self.read_post(scene, id),
            ServerEvent::RequestGone(id) => self.handle_gone(scene, id),
            ServerEvent::SocketOpen(id) => {
                match self.subject.session.handle_probe_open(&self.config, now) {
                    Ok(probe) => {
                        self.probes.push((id, probe));
                        scene.net.accept_socket(id);
                    }
                    Err(_) => scene.net.close_from_server(id),
                }
            }
            ServerEvent::SocketMessage(id, message) => self.handle_message(scene, id, &message),
            ServerEvent::SocketClosed(id) => self.handle_socket_closed(scene, id),
            ServerEvent::Timer => {
                self.timer_at = self.timer_at.filter(|at| *at != scene.net.now);
                if self
                    .subject
                    .poll_timeout(&self.config)
                    .is_some_and(|due| due <= now)
                {
                    self.subject.session.handle_timeout(&self.config, now);
                }
            }
            ServerEvent::KernelFree => {
                self.blocked = false;
                if let (Some(frame), Some(carrier)) = (self.stuck.take(), self.carrier) {
                    self.subject
                        .session
                        .handle_transmit_progress(now, frame.len());
                    scene
                        .net
                        .bytes_to_client(carrier, frame.websocket().clone());
                }
                self.subject.session.set_writable(true);
            }
            ServerEvent::ReadAgain => {
                self.busy = false;
                self.subject.session.resume_heartbeat(now);
                while let Some(event) = self.deferred.pop_front() {
                    self.step(scene, event);
                    self.pump(scene);
                }
            }
            ServerEvent::Send(count) => (0..count).for_each(|_| self.send(scene)),
        }
    }

    fn handle_get(&mut self, scene: &mut Scene, id: RequestId) {
        match self
            .subject
            .handle_get(&self.config, scene.net.instant(), self.parked.is_some())
        {
            Ok(()) => self.parked = Some(id),
            Err(error) => scene.net.respond(id, 400, error.code().to_owned()),
        }
    }

    fn handle_post(&mut self, scene: &mut Scene, id: RequestId, body: String) {
        match self.subject.handle_post(scene.net.instant()) {
            Ok(()) => {
                scene.ledger.report.posts_while_probing += u64::from(!self.probes.is_empty());
                self.posts.push((id, body));
                let at = scene.net.now + scene.net.delay() / 4;
                scene.net.at(at, Event::Server(ServerEvent::PostRead(id)));
            }
            Err(error) => scene.net.respond(id, 400, error.code().to_owned()),
        }
    }

    fn read_post(&mut self, scene: &mut Scene, id: RequestId) {
        let Some(index) = self.posts.iter().position(|(post, _)| *post == id) else {
            return;
        };
        let (_, body) = self.posts.remove(index);
        let now = scene.net.instant();
        match payload::decode(body.as_bytes(), &self.limits) {
            Err(_) => self.subject.close(now, CloseReason::ParseError, Flush::No),
            Ok(packets) => {
                for packet in packets {
                    let Ok(packet) = packet else {
                        self.subject.close(now, CloseReason::ParseError, Flush::No);
                        break;
                    };
                    match self
                        .subject
                        .handle_packet(&self.config, now, Transport::Polling, &packet)
                    {
                        Received::Message => scene.ledger.handle_received_by_server(&packet),
                        Received::Nothing => {}
                        Received::Closed => break,
                    }
                }
            }
        }
        self.subject.session.handle_post_end();
        scene.net.respond(id, 200, "ok".to_owned());
    }

    fn handle_gone(&mut self, scene: &mut Scene, id: RequestId) {
        let now = scene.net.instant();
        if self.parked == Some(id) {
            self.parked = None;
            self.subject.handle_get_aborted(now, true);
        } else if self.answered.contains(&id) {
            self.subject.handle_get_aborted(now, false);
        } else if self.posts.iter().any(|(post, _)| *post == id) {
            self.posts.retain(|(post, _)| *post != id);
            self.subject
                .close(now, CloseReason::TransportError("POST aborted"), Flush::No);
        }
    }

    fn handle_message(&mut self, scene: &mut Scene, id: SocketId, message: &Message) {
        let now = scene.net.instant();
        if let Some((_, probe)) = self
            .probes
            .iter()
            .find(|(socket, _)| *socket == id)
            .copied()
        {
            return self.handle_probe(scene, id, probe, message);
        }
        if self.carrier != Some(id) {
            return;
        }
        let Some(packet) = message.packet() else {
            return self.subject.close(now, CloseReason::ParseError, Flush::No);
        };
        if self
            .subject
            .handle_packet(&self.config, now, Transport::WebSocket, &packet)
            == Received::Message
        {
            scene.ledger.handle_received_by_server(&packet);
        }
    }

    fn handle_probe(&mut self, scene: &mut Scene, id: SocketId, probe: ProbeId, message: &Message) {
        let now = scene.net.instant();
        let step = match message.packet() {
            Some(packet) => self.subject.handle_probe_packet(now, probe, &packet),
            None => {
                self.subject.handle_probe_closed(now, probe);
                ProbeStep::Reject
            }
        };
        match step {
            ProbeStep::ReplyPong => scene
                .net
                .bytes_to_client(id, Frame::from_text("3probe").websocket().clone()),
            ProbeStep::Upgraded => {
                scene.ledger.report.upgraded = true;
                scene.ledger.report.flushed_at_upgrade +=
                    u64::from(self.subject.session.outbox_bytes() > 0);
                self.probes.retain(|(socket, _)| *socket != id);
                self.carrier = Some(id);
            }
            ProbeStep::Reject => {
                self.probes.retain(|(socket, _)| *socket != id);
                scene.ledger.report.probes_lost += 1;
                scene.net.close_from_server(id);
            }
        }
    }

    fn handle_socket_closed(&mut self, scene: &mut Scene, id: SocketId) {
        let now = scene.net.instant();
        if let Some((_, probe)) = self
            .probes
            .iter()
            .find(|(socket, _)| *socket == id)
            .copied()
        {
            self.probes.retain(|(socket, _)| *socket != id);
            scene.ledger.report.probes_lost += 1;
            self.subject.handle_probe_closed(now, probe);
        } else if self.carrier == Some(id) {
            self.subject
                .session
                .handle_websocket_closed(now, CloseReason::TransportClose);
        }
    }

    fn send(&mut self, scene: &mut Scene) {
        let class = if scene.net.random.chance(15) {
            Class::Volatile
        } else {
            Class::Reliable
        };
        let frame = Shape::any(&mut scene.net.random).frame(scene.ledger.server_sent);
        match self
            .subject
            .send(&self.config, scene.net.instant(), frame, class)
        {
            Sent::Queued => scene.ledger.server_sent += 1,
            Sent::Dropped => scene.ledger.report.volatile_dropped += 1,
            Sent::Overflow | Sent::Closed => {}
        }
    }

    fn block(&mut self, scene: &mut Scene, time: Micros) {
        self.blocked = true;
        self.subject.session.set_writable(false);
        scene
            .net
            .at(scene.net.now + time, Event::Server(ServerEvent::KernelFree));
    }

    fn answer_get(&mut self, scene: &mut Scene) -> bool {
        let Some(id) = self.parked else {
            return false;
        };
        let mut body = BytesMut::new();
        if !self.subject.poll_get(scene.net.instant(), &mut body) {
            return false;
        }
        scene.ledger.report.noops += u64::from(body.as_ref() == b"6");
        scene
            .net
            .respond(id, 200, String::from_utf8_lossy(&body).into_owned());
        self.answered.extend(self.parked.take());
        if self.abort_answer && !matches!(body.as_ref(), b"1" | b"6") {
            self.abort_answer = false;
            scene.ledger.may_end = true;
            let notices = scene.plan.client == Character::Retrying || scene.net.random.chance(50);
            scene.net.abort(id, notices);
        }
        true
    }

    fn transmit(&mut self, scene: &mut Scene) -> bool {
        let Some(carrier) = self.carrier.filter(|_| self.stuck.is_none()) else {
            return false;
        };
        let Some(frame) = self.subject.poll_transmit() else {
            return false;
        };
        if self.blocked {
            self.stuck = Some(frame);
        } else {
            scene
                .net
                .bytes_to_client(carrier, frame.websocket().clone());
            self.subject
                .session
                .handle_transmit_progress(scene.net.instant(), frame.len());
        }
        true
    }

    fn drop_probes(&mut self, scene: &mut Scene) -> bool {
        let before = self.probes.len();
        let subject = &self.subject;
        self.probes.retain(|(socket, probe)| {
            let open = subject.is_probe_open(*probe);
            if !open {
                scene.net.close_from_server(*socket);
            }
            open
        });
        let lost = before - self.probes.len();
        scene.ledger.report.probes_lost += lost as u64;
        lost > 0
    }

    fn note_closed(&mut self, scene: &mut Scene) {
        if scene.ledger.server_closed_at.is_some() {
            return;
        }
        scene.ledger.server_closed_at = Some(scene.net.now);
        let session = &self.subject.session;
        let reason = session.reason().map_or("none", CloseReason::as_str);
        let detail = session
            .reason()
            .and_then(CloseReason::detail)
            .unwrap_or_default();
        scene
            .net
            .note(|| format!("  session closed: {reason} {detail}"));
        scene
            .ledger
            .note_end("the server", &format!("{reason} {detail}"));
        scene.ledger.report.reason = Some(reason);
        if session.outbox_bytes() != 0 || session.poll_timeout(&self.config).is_some() {
            scene
                .ledger
                .violate("a closed session still holds something");
        }
        if let Some(carrier) = self.carrier {
            scene.net.close_from_server(carrier);
        }
    }

    fn arm_timer(&mut self, scene: &mut Scene) {
        let Some(due) = self.subject.poll_timeout(&self.config) else {
            return;
        };
        let due = scene.net.micros(due).max(scene.net.now);
        if self.timer_at.is_none_or(|at| due < at) {
            self.timer_at = Some(due);
            scene.net.at(due, Event::Server(ServerEvent::Timer));
        }
    }
}
