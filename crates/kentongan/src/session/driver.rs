//! The one task of a session: it reads, runs the handlers, writes, keeps the deadlines, and cleans up.
//!
//! One turn goes in one direction: deadlines, mail from other tasks, bytes in, handlers, bytes out. So all that one read
//! brought is answered in one write.

use std::{
    future::Future,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use kentongan_protocol::engine::{
    packet::Packet,
    session::{CloseReason, Flush, Received as Step, Transport},
};
use tokio::time::Sleep;

use super::{
    engine::Application,
    raw::{RawMessage, RawSession},
    shared::{Command, Message, Session, now},
    slots::Slots,
    websocket::{Ended, Received, WebSocket},
};
use crate::{
    metrics::{self, RefusalCode},
    reason::DisconnectReason,
};

/// Runs a session to its end.
pub(crate) async fn drive(session: Arc<Session>, websocket: Option<WebSocket>) {
    let deadline = tokio::time::Instant::from_std(now() + session.engine.session.ping_interval);
    let mut sleep = pin!(tokio::time::sleep_until(deadline));
    let mut driver = Driver::new(session, websocket);
    std::future::poll_fn(|cx| driver.poll(cx, sleep.as_mut())).await;
}

struct Driver {
    session: Arc<Session>,
    websocket: Option<WebSocket>,
    application: Layer,
    /// The kernel took less than we had.
    blocked: bool,
    inbox_full: bool,
    /// The code for our close frame.
    close_code: Option<u16>,
    phase: Phase,
    /// When a peer that does not close is cut off.
    linger_until: Option<Instant>,
}

/// Who takes the messages.
enum Layer {
    SocketIo(Box<Slots>),
    Raw,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Open,
    /// The session is over; handlers finish and the close frame goes out.
    Ending,
    /// The stream is shut; the peer has until the deadline to do the same.
    Lingering,
}

impl Driver {
    fn new(session: Arc<Session>, websocket: Option<WebSocket>) -> Self {
        let application = match &session.engine.application {
            Application::SocketIo(_) => Layer::SocketIo(Box::new(Slots::new(&session))),
            Application::Raw(handler) => {
                handler.opened(&RawSession(Arc::clone(&session)));
                Layer::Raw
            }
        };
        Self {
            session,
            websocket,
            application,
            blocked: false,
            inbox_full: false,
            close_code: None,
            phase: Phase::Open,
            linger_until: None,
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>, mut sleep: Pin<&mut Sleep>) -> Poll<()> {
        loop {
            self.check_deadlines(cx, sleep.as_mut());
            self.take_mail();
            let more = self.read(cx);
            let was_full = self.is_inbox_full();
            self.run(cx);
            // Nothing of the stream would wake us for what was left unread.
            let more = more || (was_full && !self.is_inbox_full());
            self.write(cx);
            if self.finish(cx).is_ready() {
                return Poll::Ready(());
            }
            if more {
                // There may be more to read, but others want to run as well.
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            if self.session.sleep(
                cx,
                self.websocket.is_some() && !self.blocked && self.phase == Phase::Open,
            ) && self.arm(cx, sleep.as_mut())
            {
                return Poll::Pending;
            }
        }
    }

    /// Acts on what is due.
    fn check_deadlines(&mut self, cx: &mut Context<'_>, sleep: Pin<&mut Sleep>) {
        if sleep.poll(cx).is_pending() {
            return;
        }
        if self.linger_until.is_some_and(|until| until <= now()) {
            self.websocket = None;
            self.linger_until = None;
        }
        let session = Arc::clone(&self.session);
        session.handle_timeout();
        if let Layer::SocketIo(slots) = &mut self.application
            && let Some(code) = slots.overdue(now())
        {
            tracing::debug!(session = %session.id.shown(), code, "session timed out");
            session.engine.metrics.refused(RefusalCode::Timeout);
            self.fail(CloseReason::ForcedClose, None);
        }
    }

    /// Sets the timer to the next deadline. `false`: it is due already.
    fn arm(&self, cx: &mut Context<'_>, mut sleep: Pin<&mut Sleep>) -> bool {
        let engine = &self.session.engine;
        let machine = self
            .session
            .machine(|machine, _| machine.poll_timeout(&engine.session));
        let slots = match &self.application {
            Layer::SocketIo(slots) if self.phase == Phase::Open => slots.deadline(),
            _ => None,
        };
        let next = [machine, slots, self.linger_until]
            .into_iter()
            .flatten()
            .min();
        let next = tokio::time::Instant::from_std(
            next.unwrap_or_else(|| now() + engine.session.ping_interval),
        );
        // A timer that fires too early is cheaper than one that is moved at every packet.
        if sleep.is_elapsed() || next < sleep.deadline() {
            sleep.as_mut().reset(next);
        }
        sleep.poll(cx).is_pending()
    }

    fn take_mail(&mut self) {
        let Some(mail) = self.session.take_mail() else {
            return;
        };
        for message in mail.messages {
            if self.phase != Phase::Open {
                break;
            }
            match message {
                Message::Text(text) => self.take_message(&Received::Text(&text)),
                Message::Binary(data) => self.take_message(&Received::Binary(&data)),
            };
        }
        if let Some(websocket) = mail.upgraded {
            self.websocket = Some(websocket);
            self.blocked = false;
        }
        for command in mail.commands {
            self.take_command(&command);
        }
    }

    fn take_command(&mut self, command: &Command) {
        let Layer::SocketIo(slots) = &mut self.application else {
            if matches!(command, Command::Shutdown | Command::DisconnectAll) {
                self.close_code = Some(GOING_AWAY);
                self.session.close(CloseReason::ForcedClose, Flush::Yes);
            }
            return;
        };
        match command {
            Command::SocketEnded(socket) => slots.socket_ended(*socket),
            Command::DisconnectAll => {
                slots.end_all(DisconnectReason::ServerNamespaceDisconnect);
                self.session.close(CloseReason::ForcedClose, Flush::Yes);
            }
            Command::Shutdown => {
                slots.end_all(DisconnectReason::ServerShuttingDown);
                self.close_code = Some(GOING_AWAY);
                self.session.close(CloseReason::ForcedClose, Flush::Yes);
            }
        }
    }

    /// Reads what is there, within bounds. `true`: stopped by the bound.
    fn read(&mut self, cx: &mut Context<'_>) -> bool {
        if self.phase != Phase::Open {
            return false;
        }
        let Some(mut websocket) = self.websocket.take() else {
            return false;
        };
        let mut ended = None;
        let mut reads = 0;
        let session = Arc::clone(&self.session);
        while ended.is_none()
            && !self.is_inbox_full()
            && reads < READS_PER_TURN
            && self.phase == Phase::Open
        {
            match websocket.poll_read(cx, session.config(), |received| {
                // One read may hold many messages, and compressed ones are a thousand times larger than it.
                self.take_frame(&received) && !self.is_inbox_full()
            }) {
                Poll::Pending => break,
                Poll::Ready(Ok(_)) => reads += 1,
                Poll::Ready(Err(reason)) => ended = Some(reason),
            }
            if session.machine(|machine, _| !machine.is_open()) {
                break;
            }
        }
        self.websocket = Some(websocket);
        match ended {
            None => {}
            Some(Ended::Closed) => self.lost(CloseReason::TransportClose),
            Some(Ended::Broken) => self.lost(CloseReason::TransportError("socket error")),
            Some(Ended::Violation(close_code, code)) => {
                tracing::debug!(session = %session.id.shown(), code, "websocket refused");
                session.engine.metrics.refused(RefusalCode::WebSocket);
                self.close_code = Some(close_code);
                session.machine(|machine, now| {
                    machine.handle_websocket_closed(now, CloseReason::TransportError(code))
                });
            }
        }
        reads == READS_PER_TURN
    }

    /// The stream is gone: nothing can be written any more.
    fn lost(&mut self, reason: CloseReason) {
        self.session
            .machine(|machine, now| machine.handle_websocket_closed(now, reason));
    }

    /// One WebSocket message: an Engine.IO packet.
    fn take_frame(&mut self, received: &Received<'_>) -> bool {
        let session = Arc::clone(&self.session);
        let engine = &session.engine;
        let packet = match received {
            Received::Text(text) => {
                metrics::add(&engine.metrics.bytes_in, text.len());
                Packet::decode_text(text)
            }
            Received::Binary(data) => {
                metrics::add(&engine.metrics.bytes_in, data.len());
                Ok(Packet::Binary((*data).into()))
            }
        };
        let packet = match packet {
            Ok(packet) => packet,
            Err(error) => {
                tracing::debug!(session = %session.id.shown(), code = error.code(), "engine packet refused");
                engine.metrics.refused(RefusalCode::EnginePacket);
                self.fail(CloseReason::ParseError, Some(PROTOCOL_ERROR));
                return false;
            }
        };
        match session.machine(|machine, now| {
            machine.handle_packet(&engine.session, now, Transport::WebSocket, &packet)
        }) {
            Step::Nothing => true,
            Step::Closed => false,
            Step::Message => match packet {
                Packet::Text(text) => self.take_message(&Received::Text(text)),
                Packet::Binary(data) => self.take_message(&Received::Binary(&data)),
                _ => true,
            },
        }
    }

    /// One Engine.IO message, from either transport. `false`: the session is closed.
    fn take_message(&mut self, message: &Received<'_>) -> bool {
        match &mut self.application {
            Layer::Raw => {
                let message = match message {
                    Received::Text(text) => RawMessage::Text((*text).into()),
                    Received::Binary(data) => {
                        RawMessage::Binary(bytes::Bytes::copy_from_slice(data))
                    }
                };
                if let Application::Raw(handler) = &self.session.engine.application {
                    handler.message(&RawSession(Arc::clone(&self.session)), message);
                }
                true
            }
            Layer::SocketIo(slots) => {
                let taken = match message {
                    Received::Text(text) => slots.take_text(text),
                    Received::Binary(data) => slots.take_binary(data),
                };
                let Err(violation) = taken else { return true };
                tracing::debug!(session = %self.session.id.shown(), code = violation.code, "socket packet refused");
                self.session.engine.metrics.refused(violation.refusal);
                self.fail(CloseReason::ForcedClose, Some(PROTOCOL_ERROR));
                false
            }
        }
    }

    /// Closes the session because of what the client did.
    fn fail(&mut self, reason: CloseReason, close_code: Option<u16>) {
        self.close_code = self.close_code.or(close_code);
        self.session.close(reason, Flush::Yes);
    }

    fn is_inbox_full(&self) -> bool {
        matches!(&self.application, Layer::SocketIo(slots) if slots.is_full())
    }

    fn run(&mut self, cx: &mut Context<'_>) {
        let Layer::SocketIo(slots) = &mut self.application else {
            return;
        };
        slots.run(cx);
        let full = slots.is_full();
        if full != self.inbox_full {
            self.inbox_full = full;
            self.session.set_inbox_full(full);
        }
    }

    fn write(&mut self, cx: &mut Context<'_>) {
        if self.phase == Phase::Lingering {
            return;
        }
        let session = &self.session;
        let Some(websocket) = &mut self.websocket else {
            return;
        };
        let engine = &session.engine;
        let result = websocket.poll_write(
            cx,
            || session.machine(|machine, _| machine.poll_transmit()),
            |bytes| {
                metrics::add(&engine.metrics.bytes_out, bytes);
                // Compressed bytes are fewer than what the outbox counts; the rest is settled when all is written.
                session.machine(|machine, now| machine.handle_transmit_progress(now, bytes));
            },
        );
        if matches!(result, Poll::Ready(Ok(()))) {
            session.machine(|machine, now| machine.handle_transmit_done(now));
        }
        let blocked = result.is_pending();
        if blocked != self.blocked {
            self.blocked = blocked;
            session.machine(|machine, _| machine.set_writable(!blocked));
        }
        if let Poll::Ready(Err(_)) = result {
            session.machine(|machine, now| {
                machine.handle_websocket_closed(now, CloseReason::TransportError("socket error"))
            });
        }
    }

    /// Goes through the end of the session, once it is over.
    fn finish(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.phase == Phase::Open {
            let Some(reason) = self
                .session
                .machine(|machine, _| machine.reason().filter(|_| machine.is_closed()))
            else {
                return Poll::Pending;
            };
            self.phase = Phase::Ending;
            self.ended(reason);
            self.run(cx);
            self.write(cx);
        }
        if self.phase == Phase::Ending {
            if self.blocked && self.websocket.is_some() {
                // The peer does not read: it does not get a close frame either.
                self.websocket = None;
            }
            self.phase = Phase::Lingering;
            self.linger_until = self.websocket.is_some().then(|| now() + LINGER);
        }
        let stream_done = match &mut self.websocket {
            None => true,
            Some(websocket) => {
                websocket.poll_shutdown(cx).is_ready() && websocket.poll_discard(cx).is_ready()
            }
        };
        if stream_done {
            self.websocket = None;
            self.linger_until = None;
        }
        let handlers_done =
            !matches!(&self.application, Layer::SocketIo(slots) if !slots.is_empty());
        if self.websocket.is_none() && handlers_done {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }

    fn ended(&mut self, reason: CloseReason) {
        let session = &self.session;
        let engine = &session.engine;
        engine.table.remove(&session.id);
        session.set_joined();
        let open = match session.transport() {
            Transport::Polling => &engine.metrics.polling_open,
            Transport::WebSocket => &engine.metrics.websocket_open,
        };
        metrics::sub(open, 1);
        let code = self.close_code.or(match reason {
            CloseReason::ParseError => Some(PROTOCOL_ERROR),
            CloseReason::SlowConsumer => Some(TRY_AGAIN_LATER),
            _ => None,
        });
        if let Some(websocket) = &mut self.websocket {
            websocket.close(code);
        }
        match (&mut self.application, &engine.application) {
            (Layer::SocketIo(slots), _) => slots.end_all(reason.into()),
            (Layer::Raw, Application::Raw(handler)) => {
                handler.closed(&RawSession(Arc::clone(session)), reason.into())
            }
            (Layer::Raw, Application::SocketIo(_)) => {}
        }
    }
}

/// Reads that one turn may do before other tasks get the thread.
const READS_PER_TURN: usize = 8;
/// How long a peer may take to answer our close frame.
const LINGER: Duration = Duration::from_secs(2);
/// RFC 6455, section 7.4.1.
const GOING_AWAY: u16 = 1001;
const PROTOCOL_ERROR: u16 = 1002;
const TRY_AGAIN_LATER: u16 = 1013;
