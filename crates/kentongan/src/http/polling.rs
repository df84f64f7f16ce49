//! Polls and polling bodies of an open session.

use std::sync::Arc;

use http::{Response, StatusCode, header, request::Parts};
use http_body::Body as HttpBody;
use kentongan_protocol::engine::session::{CloseReason, Flush, RequestError};

use super::{
    body::{self, BodyError},
    compression,
    reply::{self, Body, Refusal},
};
use crate::{
    metrics::RefusalCode,
    session::shared::{InvalidPayload, Session},
};

/// Answers a poll with what is buffered, once there is something.
pub(crate) async fn get(session: &Session, parts: &Parts) -> Result<Response<Body>, Refusal> {
    let body = session.poll_body().await.map_err(refusal)?;
    Ok(compression::payload(
        body,
        &parts.headers,
        session.engine.config.http_compression_bytes_min,
    ))
}

/// Takes in a polling body.
pub(crate) async fn post<B>(
    session: &Arc<Session>,
    parts: &Parts,
    body: B,
) -> Result<Response<Body>, Refusal>
where
    B: HttpBody + Send,
    B::Data: Send,
{
    session.begin_post().map_err(refusal)?;
    let _post = OpenPost(session);
    let content_type = parts.headers.get(header::CONTENT_TYPE);
    if content_type.is_some_and(|value| value.as_bytes() == b"application/octet-stream") {
        session.engine.metrics.refused(RefusalCode::EnginePacket);
        session.close(CloseReason::TransportError("invalid content"), Flush::No);
        return Ok(reply::empty(StatusCode::BAD_REQUEST));
    }
    let config = session.config();
    let body = match body::read(body, config.limits.message_bytes_max, config.body_rate).await {
        Ok(body) => body,
        Err(BodyError::TooLarge) => return Err(Refusal::PayloadTooLarge),
        Err(BodyError::TooSlow) => {
            session.close(
                CloseReason::TransportError("data request too slow"),
                Flush::No,
            );
            return Err(Refusal::BodyTooSlow);
        }
        Err(BodyError::Aborted) => {
            session.close(
                CloseReason::TransportError("data request connection closed prematurely"),
                Flush::No,
            );
            return Ok(reply::empty(StatusCode::BAD_REQUEST));
        }
    };
    match session.take_payload(&body) {
        Ok(()) => {
            session.inbox_room().await;
            Ok(reply::ok())
        }
        Err(InvalidPayload) => Ok(reply::empty(StatusCode::BAD_REQUEST)),
    }
}

/// A body that is being taken in; dropped, it is over.
struct OpenPost<'a>(&'a Session);

impl Drop for OpenPost<'_> {
    fn drop(&mut self) {
        self.0.end_post();
    }
}

pub(crate) fn refusal(error: RequestError) -> Refusal {
    match error {
        RequestError::Overlap => Refusal::Overlap,
        RequestError::Unknown => Refusal::SessionUnknown,
        _ => Refusal::BadRequest,
    }
}
