//! One run: the events in their order, the faults, and what must be true when it is over.

use super::Trace;
use super::client::Client;
use super::ledger::{Ledger, Report, Scene};
use super::network::{ClientEvent, Event, Network, ServerEvent};
use super::plan::{Character, Fault, Micros, Plan};
use super::random::Random;
use super::server::Server;
use super::subject::Mutation;

/// More than an honest run needs: three silent probes, ten seconds each, make a client poll for noops all the time.
const STEPS_MAX: u64 = 100_000;

pub(super) struct World {
    scene: Scene,
    server: Server,
    client: Client,
    /// When the run is over.
    end: Micros,
}

impl World {
    pub(super) fn new(seed: u64, mutation: Option<Mutation>, trace: Trace) -> Self {
        let mut random = Random::new(seed);
        let plan = Plan::new(&mut random);
        let net = Network::new(random, plan.delay_max, trace);
        let mut scene = Scene {
            net,
            ledger: Ledger::default(),
            plan,
        };
        let plan = &scene.plan;
        scene.net.note(|| format!("{plan:?}"));
        // A silent client is ended, a tiny outbox may overflow: the cause is there from the beginning.
        scene.ledger.may_end =
            plan.client == Character::Silent || plan.config.outbox_bytes_max < 1024;
        for (at, fault) in &plan.faults {
            scene.net.at(*at, Event::Fault(*fault));
        }
        for (at, count) in &plan.server_sends {
            scene.net.at(*at, Event::Server(ServerEvent::Send(*count)));
        }
        for (at, count) in &plan.client_sends {
            scene.net.at(*at, Event::Client(ClientEvent::Send(*count)));
        }
        let server = Server::new(&scene, mutation);
        let end = scene.plan.end;
        Self {
            scene,
            server,
            client: Client::new(),
            end,
        }
    }

    pub(super) fn run(mut self) -> Result<Report, (String, Vec<String>)> {
        self.scene.net.handshake();
        self.server.pump(&mut self.scene);
        while self.scene.ledger.violation.is_none() {
            let Some(event) = self.scene.net.pop() else {
                break;
            };
            if self.scene.net.now > self.end {
                break;
            }
            self.step(event);
        }
        if self.scene.ledger.violation.is_none() {
            self.check_end();
        }
        let trace = self.scene.net.trace.take().unwrap_or_default();
        let ledger = self.scene.ledger;
        match ledger.violation {
            Some(violation) => Err((violation, trace)),
            None => Ok(Report {
                to_client: ledger.to_client.received,
                to_server: ledger.to_server.received,
                trace,
                ..ledger.report
            }),
        }
    }

    fn step(&mut self, event: Event) {
        let was_up = self.is_up();
        match event {
            Event::Server(event) => self.server.handle(&mut self.scene, event),
            Event::Client(event) => self.client.handle(&mut self.scene, event),
            Event::Fault(fault) => self.strike(fault),
        }
        if was_up && !self.is_up() {
            self.end = self.scene.net.now + self.scene.plan.farewell_max();
        }
        self.scene.ledger.report.steps += 1;
        if self.scene.ledger.report.steps > STEPS_MAX {
            self.scene.ledger.violate("livelock: too many steps");
        }
    }

    fn strike(&mut self, fault: Fault) {
        let scene = &mut self.scene;
        match fault {
            Fault::CutProbe => {
                if let Some(id) = self.client.probe {
                    // A stock client does not resume polling when its WebSocket dies after `3probe`.
                    if self.client.pausing {
                        scene.ledger.may_end = true;
                        scene.ledger.flush_expected = false;
                    }
                    scene.net.cut(id);
                }
            }
            Fault::AbortGet => {
                if let Some(id) = self.client.get {
                    scene.ledger.may_end = true;
                    let notices = self.server.holds_get(id)
                        || scene.plan.client == Character::Retrying
                        || scene.net.random.chance(50);
                    scene.net.abort(id, notices);
                }
            }
            Fault::AbortPost => {
                if let Some(id) = self.client.post {
                    scene.ledger.may_end = true;
                    scene.net.abort(id, true);
                }
            }
            Fault::CutWebSocket => {
                if let Some(id) = self.client.websocket {
                    scene.ledger.may_end = true;
                    scene.net.cut(id);
                }
            }
            Fault::BlackHole => {
                scene.ledger.may_end = true;
                scene.net.black_hole = true;
                self.end = self.end.max(scene.net.now + 2 * scene.plan.farewell_max());
            }
            Fault::ResetAll => {
                scene.ledger.may_end = true;
                scene.net.reset_all();
            }
            _ => {
                self.client.handle_fault(scene, fault);
                self.server.handle_fault(scene, fault);
            }
        }
    }

    fn is_up(&self) -> bool {
        self.scene.ledger.server_closed_at.is_none() && self.scene.ledger.client_closed_at.is_none()
    }

    fn check_end(&mut self) {
        let up = self.is_up();
        let Scene { plan, net, ledger } = &mut self.scene;
        let silent = plan.client == Character::Silent;
        // A client whose handshake was lost never had a session.
        let over = ledger.is_over() || (ledger.server_closed_at.is_some() && net.black_hole);
        if !over && (!up || net.black_hole || silent) {
            let (server, client) = (ledger.server_closed_at, ledger.client_closed_at);
            ledger.violate(format!(
                "one side never learned of the end: server {server:?}, client {client:?}"
            ));
        }
        // A close that waits for a GET, and a server that does not read, both stop the heartbeat's deadline.
        let postponed = plan.has(Fault::ServerClosesFlushing) || plan.has(Fault::Busy);
        let due = plan.interval + plan.timeout;
        if silent && !postponed && ledger.server_closed_at.is_none_or(|at| at > due) {
            ledger.violate(format!(
                "a client that never polls was ended late: {:?}",
                ledger.server_closed_at
            ));
        }
        if silent
            && !postponed
            && ledger.report.reason == Some("ping timeout")
            && ledger.server_closed_at != Some(due)
        {
            ledger.violate(format!(
                "a ping timeout came early: {:?}",
                ledger.server_closed_at
            ));
        }
        let lost_to_client = !ledger.polls_twice && ledger.to_client.received != ledger.server_sent;
        let lost_to_server = ledger.to_server.received != ledger.client_sent;
        if up && let Some(gap) = ledger.gap.take() {
            ledger.violate(format!(
                "the session is up after a gap at the client: {gap}"
            ));
        }
        if up && (lost_to_client || lost_to_server) {
            ledger.violate("the session is up and packets never arrived");
        }
        if ledger.flush_expected && !silent && lost_to_client {
            ledger.violate("a close with a flush lost packets");
        }
        for (id, request) in net.requests.iter().enumerate() {
            let waits = up && (self.client.get == Some(id) || self.client.post == Some(id));
            if !request.answered && !waits && !net.is_broken(id) && !net.black_hole {
                ledger.violate(format!("request {id} was never answered"));
            }
        }
    }
}
