//! A client that behaves like engine.io-client 6: polls, posts in batches, probes, pauses, upgrades, gives up on
//! silence. It also plays the rogue sockets and requests of the faults.
//!
//! Its faults are kept where stock clients have them: a WebSocket that dies after `3probe` leaves polling paused for
//! ever, and the session ends by silence.

use std::mem::take;

use kentongan_protocol::engine::packet::Packet;

use super::ledger::Scene;
use super::network::{ClientEvent, Event, RequestId, SocketId};
use super::plan::{Character, Fault, MS, Micros, SECOND};
use super::wire::{Message, Shape, websocket_messages};

/// Half of the server's upgrade timeout.
const EAGER_PATIENCE: Micros = 5 * SECOND;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Opening,
    Open,
    Closed,
}

#[derive(Debug)]
pub(super) struct Client {
    state: State,
    pub(super) get: Option<RequestId>,
    pub(super) post: Option<RequestId>,
    pub(super) websocket: Option<SocketId>,
    pub(super) probe: Option<SocketId>,
    /// `3probe` has come: no new GET, no new POST, `5` when those under way have ended.
    pub(super) pausing: bool,
    probe_opened_at: Micros,
    upgraded_at: Micros,
    buffer: Vec<Message>,
    /// When the client gives up, unless a ping comes.
    deadline: Micros,
    timer_at: Option<Micros>,
    rogues: Vec<(SocketId, Fault)>,
    /// Requests that must be answered with 400.
    late: Vec<RequestId>,
}

impl Client {
    pub(super) fn new() -> Self {
        Self {
            state: State::Opening,
            get: None,
            post: None,
            websocket: None,
            probe: None,
            pausing: false,
            probe_opened_at: 0,
            upgraded_at: 0,
            buffer: Vec::new(),
            deadline: Micros::MAX,
            timer_at: None,
            rogues: Vec::new(),
            late: Vec::new(),
        }
    }

    pub(super) fn handle(&mut self, scene: &mut Scene, event: ClientEvent) {
        match event {
            ClientEvent::Handshake => self.handle_handshake(scene),
            ClientEvent::Response(id, status, body) => {
                self.handle_response(scene, id, status, &body)
            }
            ClientEvent::RequestFailed(id) => self.handle_failure(scene, id),
            ClientEvent::SocketOpen(id) => self.handle_socket_open(scene, id),
            ClientEvent::SocketBytes(id, bytes) => match websocket_messages(&bytes) {
                Ok(messages) => messages
                    .iter()
                    .for_each(|message| self.handle_message(scene, id, message)),
                Err(violation) => scene.ledger.violate(violation),
            },
            ClientEvent::SocketClosed(id) => self.handle_socket_closed(scene, id),
            ClientEvent::Timer => {
                self.timer_at = self.timer_at.filter(|at| *at != scene.net.now);
                if self.state == State::Open && self.deadline <= scene.net.now {
                    // A paused client hears no ping, and stays paused while the server does not read its POST.
                    let paused_lately =
                        self.pausing || scene.net.now < self.upgraded_at + scene.plan.timeout;
                    if paused_lately && scene.plan.has(Fault::Busy) {
                        scene.ledger.may_end = true;
                        scene.ledger.flush_expected = false;
                    }
                    self.close(scene, "no ping");
                }
            }
            ClientEvent::Upgrade => self.open_probe(scene),
            ClientEvent::LoserUpgrades(id) => scene.net.message_to_server(id, Message::text("5")),
            ClientEvent::Send(count) => (0..count).for_each(|_| self.send(scene)),
        }
        self.arm_timer(scene);
    }

    pub(super) fn handle_fault(&mut self, scene: &mut Scene, fault: Fault) {
        if self.state != State::Open || scene.plan.client == Character::Silent {
            return;
        }
        match fault {
            Fault::ExtraProbe | Fault::SilentProbe | Fault::WrongProbe | Fault::LoserProbe => {
                let id = scene.net.open_socket();
                self.rogues.push((id, fault));
            }
            Fault::Noise => {
                let stray = ["3", "0", "6", "5", "3probe"][scene.net.random.below(5) as usize];
                scene.ledger.report.noise += 1;
                self.push(scene, Message::text(stray));
            }
            Fault::LateRequests => self.send_late_requests(scene),
            Fault::OverlapGet if self.get.is_some() => {
                scene.ledger.may_end = true;
                scene.ledger.polls_twice = true;
                scene.net.get();
            }
            Fault::OverlapPost if self.websocket.is_none() => {
                scene.ledger.may_end = true;
                scene.net.post("6".to_owned());
                scene.net.post("6".to_owned());
            }
            Fault::ClientCloses => {
                scene.ledger.may_end = true;
                self.close(scene, "the application closes");
            }
            Fault::Garbage => {
                scene.ledger.may_end = true;
                self.push(scene, Message::text("x"));
            }
            Fault::ClientPings => {
                scene.ledger.may_end = true;
                self.push(scene, Message::text("2"));
            }
            _ => {}
        }
    }

    fn handle_handshake(&mut self, scene: &mut Scene) {
        self.state = State::Open;
        self.deadline = scene.net.now + scene.plan.interval + scene.plan.timeout;
        if scene.plan.client == Character::Silent {
            return;
        }
        self.poll(scene);
        if let Some(at) = scene.plan.upgrade_at {
            scene.net.at(at, Event::Client(ClientEvent::Upgrade));
        }
    }

    fn handle_response(&mut self, scene: &mut Scene, id: RequestId, status: u16, body: &str) {
        if self.late.contains(&id) && status != 400 {
            scene.ledger.violate(format!(
                "a request after the upgrade was answered with {status}"
            ));
        }
        if self.state != State::Open {
            return;
        }
        if self.get == Some(id) {
            self.get = None;
            if status != 200 {
                return self.close(scene, "GET refused");
            }
            for packet in body.split('\u{1e}') {
                match Packet::decode_text(packet) {
                    Ok(packet) => self.handle_packet(scene, &packet),
                    Err(error) => scene
                        .ledger
                        .violate(format!("client cannot read {packet:?}: {error}")),
                }
            }
            if self.state == State::Open && !self.pausing {
                self.poll(scene);
            }
            self.upgrade_when_paused(scene);
        } else if self.post == Some(id) {
            self.post = None;
            if status != 200 {
                // A POST on a session that has just ended may be refused before its last GET arrives: a stock client
                // then drops the GET, and the packets on it.
                scene.ledger.flush_expected &= self.get.is_none();
                return self.close(scene, "POST refused");
            }
            self.flush(scene);
            self.upgrade_when_paused(scene);
        }
    }

    fn handle_failure(&mut self, scene: &mut Scene, id: RequestId) {
        if self.state != State::Open {
            return;
        }
        if self.get == Some(id) && scene.plan.client == Character::Retrying && !self.pausing {
            scene.ledger.polled_again = true;
            self.poll(scene);
        } else if self.get == Some(id) || self.post == Some(id) {
            self.close(scene, "request failed");
        }
    }

    fn handle_socket_open(&mut self, scene: &mut Scene, id: SocketId) {
        if self.state != State::Open {
            return scene.net.close_from_client(id);
        }
        if self.probe == Some(id) {
            self.probe_opened_at = scene.net.now;
            if scene.plan.client == Character::Eager {
                self.pausing = true;
                self.upgrade_when_paused(scene);
            } else {
                scene.net.message_to_server(id, Message::text("2probe"));
            }
        }
        let Some((_, rogue)) = self.rogues.iter().find(|(socket, _)| *socket == id) else {
            return;
        };
        match rogue {
            Fault::ExtraProbe | Fault::LoserProbe => {
                scene.net.message_to_server(id, Message::text("2probe"))
            }
            Fault::WrongProbe => {
                let wrong =
                    ["4t0", "2", "3probe", "6", "1", "x", "0"][scene.net.random.below(7) as usize];
                scene.net.message_to_server(id, Message::text(wrong));
            }
            _ => {}
        }
    }

    fn handle_message(&mut self, scene: &mut Scene, id: SocketId, message: &Message) {
        if self.websocket == Some(id) && self.state == State::Open {
            match message.packet() {
                Some(packet) => self.handle_packet(scene, &packet),
                None => scene
                    .ledger
                    .violate(format!("client cannot read {message:?}")),
            }
        } else if self.websocket != Some(id) && *message != Message::text("3probe") {
            scene
                .ledger
                .violate(format!("{message:?} on a WebSocket that only probes"));
        } else if self.probe == Some(id) && self.state == State::Open {
            self.pausing = true;
            self.upgrade_when_paused(scene);
        }
    }

    fn handle_socket_closed(&mut self, scene: &mut Scene, id: SocketId) {
        self.rogues.retain(|(socket, _)| *socket != id);
        if self.state != State::Open {
            return;
        }
        if self.websocket == Some(id) {
            self.close(scene, "WebSocket closed");
        } else if self.probe == Some(id) {
            self.probe = None;
            if scene.plan.client == Character::Eager {
                self.resume_polling(scene);
            }
        }
    }

    fn handle_packet(&mut self, scene: &mut Scene, packet: &Packet<'_>) {
        if self.state != State::Open {
            return;
        }
        match packet {
            Packet::Text(_) | Packet::Binary(_) => {
                scene.ledger.handle_received_by_client(packet);
            }
            Packet::Ping("") => {
                self.deadline = scene.net.now + scene.plan.interval + scene.plan.timeout;
                self.push(scene, Message::text("3"));
            }
            Packet::Close => self.close(scene, "server closed"),
            Packet::Noop => {}
            _ => scene
                .ledger
                .violate(format!("a server never sends {packet:?}")),
        }
    }

    fn open_probe(&mut self, scene: &mut Scene) {
        if self.state == State::Open && self.websocket.is_none() {
            self.probe = Some(scene.net.open_socket());
        }
    }

    fn upgrade_when_paused(&mut self, scene: &mut Scene) {
        if !self.pausing || self.get.is_some() || self.post.is_some() || self.state != State::Open {
            return;
        }
        let Some(id) = self.probe.take() else {
            return;
        };
        // Without noops the last GET may have taken longer than the server waits: a `5` now could cross its close.
        if scene.plan.client == Character::Eager
            && scene.net.now > self.probe_opened_at + EAGER_PATIENCE
        {
            scene.net.close_from_client(id);
            return self.resume_polling(scene);
        }
        self.pausing = false;
        self.websocket = Some(id);
        self.upgraded_at = scene.net.now;
        scene.net.message_to_server(id, Message::text("5"));
        self.flush(scene);
        // Late enough to lose: an earlier `5` would win, and rightly.
        let late = scene.net.now + 2 * scene.plan.delay_max + MS;
        for (loser, _) in self
            .rogues
            .iter()
            .filter(|(_, fault)| *fault == Fault::LoserProbe)
        {
            scene
                .net
                .at(late, Event::Client(ClientEvent::LoserUpgrades(*loser)));
        }
    }

    /// What stock clients do not do. The eager one must, because without a probe no noop ends its parked GET, and
    /// the upgrade may run out of time.
    fn resume_polling(&mut self, scene: &mut Scene) {
        self.pausing = false;
        if self.get.is_none() {
            self.poll(scene);
        }
        self.flush(scene);
    }

    fn send_late_requests(&mut self, scene: &mut Scene) {
        let settled = scene.net.now > self.upgraded_at + 2 * scene.plan.delay_max + MS;
        if self.websocket.is_some() && settled {
            self.late.push(scene.net.get());
            self.late.push(scene.net.post("4late".to_owned()));
        }
    }

    fn send(&mut self, scene: &mut Scene) {
        if self.state != State::Open || scene.plan.client == Character::Silent {
            return;
        }
        let messages = Shape::any(&mut scene.net.random).messages(scene.ledger.client_sent);
        scene.ledger.client_sent += 1;
        self.buffer.extend(messages);
        self.flush(scene);
    }

    fn push(&mut self, scene: &mut Scene, message: Message) {
        self.buffer.push(message);
        self.flush(scene);
    }

    fn flush(&mut self, scene: &mut Scene) {
        // Its pause may be long, so that it keeps on posting: its pongs must arrive.
        let eager = scene.plan.client == Character::Eager;
        if let Some(id) = self.websocket {
            for message in take(&mut self.buffer) {
                scene.net.message_to_server(id, message);
            }
        } else if self.post.is_none() && (!self.pausing || eager) && !self.buffer.is_empty() {
            let packets: Vec<String> = take(&mut self.buffer)
                .iter()
                .map(Message::polling)
                .collect();
            self.post = Some(scene.net.post(packets.join("\u{1e}")));
        }
    }

    fn poll(&mut self, scene: &mut Scene) {
        self.get = Some(scene.net.get());
    }

    /// Ends the session on this side, with what a stock client tells the server.
    fn close(&mut self, scene: &mut Scene, why: &str) {
        self.state = State::Closed;
        scene.ledger.client_closed_at = Some(scene.net.now);
        scene.net.note(|| format!("  client closed: {why}"));
        scene.ledger.note_end("the client", why);
        match self.websocket {
            Some(id) => scene.net.close_from_client(id),
            None if scene.plan.client == Character::Silent => {}
            None => {
                scene.net.post("1".to_owned());
            }
        }
        for id in self
            .probe
            .take()
            .into_iter()
            .chain(take(&mut self.rogues).into_iter().map(|(id, _)| id))
        {
            scene.net.close_from_client(id);
        }
    }

    fn arm_timer(&mut self, scene: &mut Scene) {
        if self.state == State::Open && self.timer_at.is_none() {
            self.timer_at = Some(self.deadline);
            scene
                .net
                .at(self.deadline, Event::Client(ClientEvent::Timer));
        }
    }
}
