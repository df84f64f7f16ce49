//! Handlers: async functions whose parameters say what they want of an event.
//!
//! Owns the way from an event to a call with typed parameters. It must not know sessions or transports.

pub(crate) mod extract;
pub(crate) mod listeners;
pub(crate) mod run;

use std::{future::Future, sync::Arc};

use futures_util::future::BoxFuture;
use kentongan_protocol::socket::args::IntoArgs;

use self::extract::{Ack, Context, FromContext, Invalid};
pub use self::listeners::ListenerId;
use crate::error::Refusal;

/// An async function over up to six extractors, such as
/// `|socket: Socket, Data(text): Data<String>, ack: Ack| async move { … }`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a handler",
    label = "every parameter must be an extractor (`Socket`, `Data<T>`, `Ack`, `Args`, …) and the result `()` or `Reply<T>`",
    note = "write it as `|socket: Socket, Data(x): Data<T>| async move {{ … }}`"
)]
pub trait Handler<A, R>: Send + Sync + 'static {
    /// What runs.
    type Future: Future<Output = R> + Send + 'static;

    /// Starts the handler, or says why its parameters cannot be had.
    ///
    /// # Errors
    /// [`Invalid`]: the event does not have what a parameter asks for.
    fn call(&self, context: &Context) -> Result<Self::Future, Invalid>;
}

/// A handler that decides: `Ok(())` lets the client or the event pass.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not middleware",
    note = "its result must be `Result<(), Refusal>`"
)]
pub trait Middleware<A>: Handler<A, Result<(), Refusal>> {}

impl<A, T: Handler<A, Result<(), Refusal>>> Middleware<A> for T {}

/// The answer of a handler, sent as the acknowledgement if the client asked for one.
///
/// It is sent when the handler's future has ended, so after everything that the handler emitted, and before the next event
/// of the same socket is handled. An answer that must go out earlier, or later than the handler's end, is
/// [`Ack::send`](extract::Ack::send).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reply<T>(pub T);

/// What a handler may return.
pub trait IntoReply: Send + 'static {
    /// Whether there is ever anything to say.
    #[doc(hidden)]
    const REPLIES: bool = true;

    /// Acknowledges, if there is something to say and the client asked.
    fn reply(self, ack: &Ack);
}

impl IntoReply for () {
    const REPLIES: bool = false;

    fn reply(self, _: &Ack) {}
}

impl<T: IntoArgs + Send + 'static> IntoReply for Reply<T> {
    fn reply(self, ack: &Ack) {
        ack.give(self.0);
    }
}

/// `Err` is sent as `{ok: false, error: {code, message, data?}}`; see [`Refusal::with_code`].
impl<T: IntoArgs + Send + 'static> IntoReply for Result<Reply<T>, Refusal> {
    fn reply(self, ack: &Ack) {
        match self {
            Ok(reply) => reply.reply(ack),
            Err(refusal) => ack.give_refusal(&refusal),
        }
    }
}

/// A handler without its types.
pub(crate) type Erased = Arc<dyn Fn(&Context) -> BoxFuture<'static, ()> + Send + Sync>;
pub(crate) type ErasedMiddleware =
    Arc<dyn Fn(&Context) -> BoxFuture<'static, Result<(), Refusal>> + Send + Sync>;

pub(crate) fn erase<A, R: IntoReply>(handler: impl Handler<A, R>) -> Erased {
    Arc::new(move |context| match handler.call(context) {
        Ok(future) => {
            let ack = R::REPLIES.then(|| context.ack.clone());
            Box::pin(async move {
                let result = future.await;
                if let Some(ack) = &ack {
                    result.reply(ack);
                }
            })
        }
        Err(invalid) => {
            context.invalid(invalid);
            Box::pin(std::future::ready(()))
        }
    })
}

pub(crate) fn erase_middleware<A>(middleware: impl Middleware<A>) -> ErasedMiddleware {
    Arc::new(move |context| match middleware.call(context) {
        Ok(future) => Box::pin(future),
        Err(invalid) => Box::pin(std::future::ready(Err(invalid.into()))),
    })
}

macro_rules! handlers {
    ($($parameter:ident),*) => {
        impl<F, Fut, R, $($parameter),*> Handler<($($parameter,)*), R> for F
        where
            F: Fn($($parameter),*) -> Fut + Send + Sync + 'static,
            Fut: Future<Output = R> + Send + 'static,
            R: Send + 'static,
            $($parameter: FromContext,)*
        {
            type Future = Fut;

            fn call(&self, context: &Context) -> Result<Fut, Invalid> {
                let _ = context;
                Ok(self($($parameter::from_context(context)?),*))
            }
        }
    };
}

handlers!();
handlers!(A);
handlers!(A, B);
handlers!(A, B, C);
handlers!(A, B, C, D);
handlers!(A, B, C, D, E);
handlers!(A, B, C, D, E, G);
