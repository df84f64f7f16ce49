//! Where an application may look at requests and answers: Node's `allowRequest`, `initial_headers` and `headers`.

use std::{fmt, sync::Arc};

use futures_util::future::BoxFuture;
use http::{HeaderMap, request::Parts};

/// Decides about a handshake; `Err` holds the message for the client (status 403, code 4).
pub type AllowRequest = Arc<dyn Fn(&Parts) -> BoxFuture<'static, Result<(), String>> + Send + Sync>;
/// Changes the headers of an answer.
pub type ChangeHeaders = Arc<dyn Fn(&mut HeaderMap) + Send + Sync>;

/// Hooks on HTTP requests and responses.
#[derive(Clone, Default)]
#[non_exhaustive]
pub struct HttpHooks {
    /// Asked for every handshake and every upgrade.
    pub allow_request: Option<AllowRequest>,
    /// Called with the headers of the first answer of a session: the polling handshake, or the 101.
    pub initial_headers: Option<ChangeHeaders>,
    /// Called with the headers of every answer.
    pub headers: Option<ChangeHeaders>,
}

impl fmt::Debug for HttpHooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpHooks")
            .field("allow_request", &self.allow_request.is_some())
            .field("initial_headers", &self.initial_headers.is_some())
            .field("headers", &self.headers.is_some())
            .finish()
    }
}
