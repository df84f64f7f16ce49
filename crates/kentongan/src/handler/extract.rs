//! What a handler's parameters may be.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use bytestring::ByteString;
use kentongan_protocol::{
    engine::session::Class,
    socket::{
        args::{Args, ArgsError, IntoArgs},
        encode,
        value::Value,
    },
};
use serde::de::DeserializeOwned;

use crate::{
    error::Refusal,
    metrics::RefusalCode,
    reason::DisconnectReason,
    recovery::Recovery,
    socket::{Ended, Socket},
};

/// An event on its way to a handler.
#[derive(Clone, Debug)]
pub struct Context {
    pub(crate) socket: Socket,
    pub(crate) name: ByteString,
    pub(crate) args: Args,
    pub(crate) ack: Ack,
    pub(crate) recovery: Option<Recovery>,
    pub(crate) ended: Option<Arc<Ended>>,
}

/// The acknowledgement that a client waits for; given once.
#[derive(Debug)]
pub(crate) struct PendingAck {
    socket: Socket,
    event: ByteString,
    id: u64,
    given: AtomicBool,
}

/// A parameter of a handler.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be taken from an event",
    note = "did you mean `Data<{Self}>`?"
)]
pub trait FromContext: Sized + Send {
    /// Takes it from the event.
    ///
    /// # Errors
    /// [`Invalid`]: the event does not have it in this form; the handler is not called, and the client is told.
    fn from_context(context: &Context) -> Result<Self, Invalid>;
}

/// An event's arguments do not fit its handler.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(transparent)]
pub struct Invalid(#[from] pub ArgsError);

/// The arguments, deserialized: a tuple takes several, anything else the first one. In connect handlers and middleware
/// it is the client's auth payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Data<T>(pub T);

/// As [`Data`], but a mismatch is given to the handler instead of keeping the event from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TryData<T>(pub Result<T, ArgsError>);

/// The auth payload of the client, in connect handlers and middleware: another name for [`Data`] there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Auth<T>(pub T);

/// The name of the event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventName(pub ByteString);

/// The rooms that a socket was in when it left; in disconnect handlers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoomsLeft(pub Vec<ByteString>);

/// The answer to an event.
#[derive(Debug, Clone)]
pub struct Ack(pub(crate) Option<Arc<PendingAck>>);

impl Ack {
    /// Answers. Nothing is sent when the client did not ask, has left, or got its answer already.
    pub fn send(self, data: impl IntoArgs) {
        self.give(data);
    }

    /// Answers `{ok: false, error: {code, message, data?}}`, as a handler does that returns the refusal.
    pub fn refuse(self, refusal: &Refusal) {
        self.give_refusal(refusal);
    }

    /// Whether the client asked for an answer.
    #[must_use]
    pub fn is_expected(&self) -> bool {
        self.0.is_some()
    }

    pub(crate) fn give(&self, data: impl IntoArgs) {
        let Some(ack) = &self.0 else { return };
        if ack.given.swap(true, Ordering::AcqRel) {
            return;
        }
        let socket = &ack.socket.0;
        let engine = &socket.session.engine;
        match data.into_args(engine.config.parser) {
            Ok(args) => {
                let frame = encode::ack(&socket.namespace.name, ack.id, &args);
                let _ = socket.send(frame, Class::Reliable);
            }
            Err(error) => {
                tracing::error!(event = %ack.event, %error, "the answer of a handler cannot be sent");
                engine.metrics.refused(RefusalCode::Emit);
                ack.given.store(false, Ordering::Release);
                self.give_refusal(&Refusal::new("internal error").with_code("internal"));
            }
        }
    }

    pub(crate) fn give_refusal(&self, refusal: &Refusal) {
        let mut error = vec![
            ("code".to_owned(), Value::from(refusal.code())),
            ("message".to_owned(), Value::from(refusal.message.as_str())),
        ];
        if let Some(data) = &refusal.data {
            error.push(("data".to_owned(), data.clone()));
        }
        self.give(Value::Object(vec![
            ("ok".to_owned(), Value::Bool(false)),
            ("error".to_owned(), Value::Object(error)),
        ]));
    }
}

impl Context {
    pub(crate) fn event(socket: &Socket, id: Option<u64>, name: ByteString, args: Args) -> Self {
        let ack = id.map(|id| {
            Arc::new(PendingAck {
                socket: socket.clone(),
                event: name.clone(),
                id,
                given: AtomicBool::new(false),
            })
        });
        Self {
            socket: socket.clone(),
            name,
            args,
            ack: Ack(ack),
            recovery: None,
            ended: None,
        }
    }

    pub(crate) fn connect(socket: &Socket, auth: Args, recovery: Option<Recovery>) -> Self {
        Self {
            socket: socket.clone(),
            name: ByteString::new(),
            args: auth,
            ack: Ack(None),
            recovery,
            ended: None,
        }
    }

    pub(crate) fn disconnect(socket: &Socket, ended: Ended) -> Self {
        let parser = socket.0.session.engine.config.parser;
        Self {
            socket: socket.clone(),
            name: ByteString::new(),
            args: Args::empty(parser),
            ack: Ack(None),
            recovery: None,
            ended: Some(Arc::new(ended)),
        }
    }

    pub(crate) fn invalid(&self, invalid: Invalid) {
        tracing::debug!(event = %self.name, error = %invalid, "arguments do not fit the handler");
        self.socket
            .0
            .session
            .engine
            .metrics
            .refused(RefusalCode::InvalidArguments);
        self.ack.give_refusal(&invalid.into());
    }
}

impl From<Invalid> for Refusal {
    fn from(invalid: Invalid) -> Self {
        Self::new(invalid.0.client_text()).with_code(invalid.0.code())
    }
}

impl FromContext for Socket {
    fn from_context(context: &Context) -> Result<Self, Invalid> {
        Ok(context.socket.clone())
    }
}

impl<T: DeserializeOwned + Send> FromContext for Data<T> {
    fn from_context(context: &Context) -> Result<Self, Invalid> {
        Ok(Self(context.args.deserialize()?))
    }
}

impl<T: DeserializeOwned + Send> FromContext for TryData<T> {
    fn from_context(context: &Context) -> Result<Self, Invalid> {
        Ok(Self(context.args.deserialize()))
    }
}

impl<T: DeserializeOwned + Send> FromContext for Auth<T> {
    fn from_context(context: &Context) -> Result<Self, Invalid> {
        Ok(Self(context.args.deserialize()?))
    }
}

impl FromContext for Args {
    fn from_context(context: &Context) -> Result<Self, Invalid> {
        Ok(context.args.clone())
    }
}

impl FromContext for EventName {
    fn from_context(context: &Context) -> Result<Self, Invalid> {
        Ok(Self(context.name.clone()))
    }
}

impl FromContext for Ack {
    fn from_context(context: &Context) -> Result<Self, Invalid> {
        Ok(context.ack.clone())
    }
}

/// [`Recovery::New`] outside of connect handlers.
impl FromContext for Recovery {
    fn from_context(context: &Context) -> Result<Self, Invalid> {
        Ok(context.recovery.clone().unwrap_or(Self::New))
    }
}

/// [`DisconnectReason::ForcedClose`] outside of disconnect handlers.
impl FromContext for DisconnectReason {
    fn from_context(context: &Context) -> Result<Self, Invalid> {
        Ok(context
            .ended
            .as_ref()
            .map_or(Self::ForcedClose, |ended| ended.reason))
    }
}

/// Empty outside of disconnect handlers.
impl FromContext for RoomsLeft {
    fn from_context(context: &Context) -> Result<Self, Invalid> {
        Ok(Self(
            context
                .ended
                .as_ref()
                .map_or_else(Vec::new, |ended| ended.rooms.clone()),
        ))
    }
}
