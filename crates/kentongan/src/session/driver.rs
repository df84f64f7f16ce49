//! The one task of a session: it reads, runs the handlers, writes, keeps the deadlines, and cleans up.
//!
//! One turn goes in one direction: deadlines, mail from other tasks, bytes in, handlers, bytes out. So all that one read
//! brought is answered in one write. Handlers whose turn has come start while the bytes are read.

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
    shared::{Command, Message, Session, Settled, Turn, now},
    slots::Slots,
    websocket::{
        WebSocket,
        reader::{Ended, Received, WebSocketReader},
    },
};
use crate::{
    metrics::{self, RefusalCode},
    reason::DisconnectReason,
};

/// Runs a session to its end.
// Not an `async fn`: that would keep its arguments beside the driver made of them, for every connection.
pub(crate) fn drive(
    session: Arc<Session>,
    websocket: Option<WebSocket>,
) -> impl Future<Output = ()> + Send {
    let mut driver = Driver::new(session, websocket);
    async move {
        let mut sleep = pin!(driver.first_sleep());
        std::future::poll_fn(|cx| driver.poll(cx, sleep.as_mut())).await;
    }
}

struct Driver {
    session: Arc<Session>,
    /// The reading half; the writing half is the session's.
    websocket: Option<WebSocketReader>,
    application: Layer,
    /// The clock, read once a turn.
    now: Instant,
    /// The timer will fire without being looked at.
    is_armed: bool,
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
        let mut driver = Self {
            session,
            websocket: None,
            application,
            now: now(),
            is_armed: false,
            inbox_full: false,
            close_code: None,
            phase: Phase::Open,
            linger_until: None,
        };
        if let Some(websocket) = websocket {
            driver.install(websocket);
        }
        driver
    }

    fn first_sleep(&self) -> Sleep {
        let interval = self.session.engine.session.ping_interval;
        tokio::time::sleep_until(tokio::time::Instant::from_std(self.now + interval))
    }

    fn install(&mut self, websocket: WebSocket) {
        *self.session.writer.lock() = Some(websocket.writer);
        self.websocket = Some(websocket.reader);
    }

    /// Lets go of the stream, whatever is still to be written.
    fn uninstall(&mut self) {
        *self.session.writer.lock() = None;
        self.websocket = None;
    }

    fn poll(&mut self, cx: &mut Context<'_>, mut sleep: Pin<&mut Sleep>) -> Poll<()> {
        loop {
            let turn = Turn::begin();
            self.now = turn.now;
            self.check_deadlines(cx, sleep.as_mut());
            self.take_mail(cx);
            let more = self.read(cx);
            let was_full = self.is_inbox_full();
            self.run(cx);
            // Nothing of the stream would wake us for what was left unread.
            let more = more || (was_full && !self.is_inbox_full());
            self.write(cx);
            let deadline =
                match self
                    .session
                    .settle(cx, self.phase == Phase::Open, self.websocket.is_some())
                {
                    Settled::Busy => continue,
                    Settled::Over(reason) => {
                        self.end(reason, cx);
                        continue;
                    }
                    Settled::Idle(deadline) => deadline,
                };
            if self.phase != Phase::Open && self.finish(cx).is_ready() {
                return Poll::Ready(());
            }
            if more {
                // There may be more to read, but others want to run as well.
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            if self.arm(cx, sleep.as_mut(), deadline) {
                return Poll::Pending;
            }
        }
    }

    /// Acts on what is due.
    fn check_deadlines(&mut self, cx: &mut Context<'_>, sleep: Pin<&mut Sleep>) {
        if self.now < sleep.deadline().into_std() || sleep.poll(cx).is_pending() {
            return;
        }
        self.is_armed = false;
        if self.linger_until.is_some_and(|until| until <= self.now) {
            self.uninstall();
            self.linger_until = None;
        }
        let session = Arc::clone(&self.session);
        session.handle_timeout(self.now);
        if let Layer::SocketIo(slots) = &mut self.application
            && let Some(code) = slots.overdue(self.now)
        {
            tracing::debug!(session = %session.id.shown(), code, "session timed out");
            session.engine.metrics.refused(RefusalCode::Timeout);
            self.fail(CloseReason::ForcedClose, None);
        }
    }

    /// Sets the timer to the next deadline. `false`: it is due already.
    fn arm(
        &mut self,
        cx: &mut Context<'_>,
        mut sleep: Pin<&mut Sleep>,
        machine: Option<Instant>,
    ) -> bool {
        let slots = match &self.application {
            Layer::SocketIo(slots) if self.phase == Phase::Open => slots.deadline(),
            _ => None,
        };
        let next = [machine, slots, self.linger_until]
            .into_iter()
            .flatten()
            .min();
        let next = tokio::time::Instant::from_std(
            next.unwrap_or_else(|| self.now + self.session.engine.session.ping_interval),
        );
        // A timer that fires too early is cheaper than one that is moved at every packet.
        if !self.is_armed && sleep.is_elapsed() || next < sleep.deadline() {
            sleep.as_mut().reset(next);
            self.is_armed = false;
        }
        if self.is_armed {
            return true;
        }
        self.is_armed = sleep.poll(cx).is_pending();
        self.is_armed
    }

    fn take_mail(&mut self, cx: &mut Context<'_>) {
        let Some(mail) = self.session.take_mail() else {
            return;
        };
        for message in mail.messages {
            if self.phase != Phase::Open {
                break;
            }
            match message {
                Message::Text(text) => self.take_message(&Received::Text(&text), cx),
                Message::Binary(data) => self.take_message(&Received::Binary(&data), cx),
            };
        }
        if let Some(websocket) = mail.upgraded {
            self.install(websocket);
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
        let (mut ended, mut answer) = (None, None);
        let waker = cx.waker();
        let mut reads = 0;
        let session = Arc::clone(&self.session);
        while ended.is_none()
            && !self.is_inbox_full()
            && reads < READS_PER_TURN
            && self.phase == Phase::Open
        {
            let (mut goes_on, mut bytes) = (true, 0);
            match websocket.poll_read(cx, session.config(), &mut answer, |received| {
                bytes += received.len();
                goes_on = self.take_frame(&received, &mut Context::from_waker(waker));
                // One read may hold many messages, and compressed ones are a thousand times larger than it.
                goes_on && !self.is_inbox_full()
            }) {
                Poll::Pending => break,
                Poll::Ready(Ok(_)) => reads += 1,
                Poll::Ready(Err(reason)) => ended = Some(reason),
            }
            metrics::add(&session.engine.metrics.bytes_in, bytes);
            if !goes_on {
                break;
            }
        }
        self.websocket = Some(websocket);
        if let Some(answer) = answer
            && let Some(writer) = session.writer.lock().as_mut()
        {
            writer.queue_answer(answer);
        }
        match ended {
            None => {}
            Some(Ended::Closed) => self.lost(CloseReason::TransportClose),
            Some(Ended::Broken) => self.lost(CloseReason::TransportError("socket error")),
            Some(Ended::Violation(close_code, code)) => {
                tracing::debug!(session = %session.id.shown(), code, "websocket refused");
                session.engine.metrics.refused(RefusalCode::WebSocket);
                self.close_code = Some(close_code);
                self.lost(CloseReason::TransportError(code));
            }
        }
        reads == READS_PER_TURN
    }

    /// The stream is gone: nothing can be written any more.
    fn lost(&mut self, reason: CloseReason) {
        let now = self.now;
        self.session
            .machine(|machine| machine.handle_websocket_closed(now, reason));
    }

    /// One WebSocket message: an Engine.IO packet.
    fn take_frame(&mut self, received: &Received<'_>, cx: &mut Context<'_>) -> bool {
        let packet = match received {
            Received::Text(text) => Packet::decode_text(text),
            Received::Binary(data) => Ok(Packet::Binary((*data).into())),
        };
        let packet = match packet {
            Ok(packet) => packet,
            Err(error) => {
                let session = &self.session;
                tracing::debug!(session = %session.id.shown(), code = error.code(), "engine packet refused");
                session.engine.metrics.refused(RefusalCode::EnginePacket);
                self.fail(CloseReason::ParseError, Some(PROTOCOL_ERROR));
                return false;
            }
        };
        let (session, now) = (&self.session, self.now);
        let config = &session.engine.session;
        match session
            .machine(|machine| machine.handle_packet(config, now, Transport::WebSocket, &packet))
        {
            Step::Nothing => true,
            Step::Closed => false,
            Step::Message => match packet {
                Packet::Text(text) => self.take_message(&Received::Text(text), cx),
                Packet::Binary(data) => self.take_message(&Received::Binary(&data), cx),
                _ => true,
            },
        }
    }

    /// One Engine.IO message, from either transport. `false`: the session is closed.
    fn take_message(&mut self, message: &Received<'_>, cx: &mut Context<'_>) -> bool {
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
                    Received::Text(text) => slots.take_text(text, self.now, cx),
                    Received::Binary(data) => slots.take_binary(data, self.now, cx),
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
        if self.phase != Phase::Lingering && self.websocket.is_some() {
            self.session.flush(cx, self.now);
        }
    }

    /// The session is over: the handlers are told, and the close frame goes out.
    fn end(&mut self, reason: CloseReason, cx: &mut Context<'_>) {
        self.phase = Phase::Ending;
        self.ended(reason);
        self.run(cx);
        self.write(cx);
        if self.session.is_blocked() {
            // The peer does not read: it does not get a close frame either.
            self.uninstall();
        }
        self.phase = Phase::Lingering;
        self.linger_until = self.websocket.is_some().then(|| self.now + LINGER);
    }

    /// Waits for the peer to close, and for the handlers.
    fn finish(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let shut = match self.session.writer.lock().as_mut() {
            None => true,
            Some(writer) => writer.poll_shutdown(cx).is_ready(),
        };
        let discarded = match &mut self.websocket {
            None => true,
            Some(reader) => shut && reader.poll_discard(cx).is_ready(),
        };
        if shut && discarded {
            self.uninstall();
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
        if let Some(writer) = session.writer.lock().as_mut() {
            writer.close(code);
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
