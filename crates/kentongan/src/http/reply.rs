//! Answers: bodies, statuses and the error table of Engine.IO (protocol v4, "Error bodies").

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};

use crate::metrics::RefusalCode;

/// Body of every answer of this server.
pub type Body = http_body_util::Full<Bytes>;

/// A refusal on the HTTP level.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refusal {
    TransportUnknown,
    SessionUnknown,
    HandshakeMethod,
    BadRequest,
    Forbidden(String),
    ProtocolVersion,
    /// 503 with `Retry-After`: full, or shutting down.
    Unavailable,
    /// 413 with an empty body; the session lives on.
    PayloadTooLarge,
    /// 400 with an empty body.
    Overlap,
    /// 405.
    Method,
    /// 503: a handshake took longer than `Config::open_timeout`.
    Late,
    /// 408 with an empty body; the session is closed, since a part of what it sent is lost.
    BodyTooSlow,
    /// 414.
    RequestLine,
    /// 431.
    Headers,
    /// 429 with `Retry-After`: the address has too many connections in no namespace.
    AddressUnauthenticated,
    /// 503 with `Retry-After`: the server has too many connections in no namespace.
    Unauthenticated,
}

impl Refusal {
    pub(crate) fn code(&self) -> RefusalCode {
        match self {
            Self::TransportUnknown => RefusalCode::TransportUnknown,
            Self::SessionUnknown => RefusalCode::SessionUnknown,
            Self::HandshakeMethod => RefusalCode::HandshakeMethod,
            Self::BadRequest | Self::Method => RefusalCode::BadRequest,
            Self::Forbidden(_) => RefusalCode::Forbidden,
            Self::ProtocolVersion => RefusalCode::ProtocolVersion,
            Self::Unavailable => RefusalCode::Unavailable,
            Self::PayloadTooLarge => RefusalCode::PayloadTooLarge,
            Self::Overlap => RefusalCode::Overlap,
            Self::Late => RefusalCode::Timeout,
            Self::BodyTooSlow => RefusalCode::BodyTooSlow,
            Self::RequestLine | Self::Headers => RefusalCode::RequestHead,
            Self::AddressUnauthenticated | Self::Unauthenticated => {
                RefusalCode::UnauthenticatedTooMany
            }
        }
    }

    /// The answer, with the numeric code that stock clients read.
    pub(crate) fn response(&self) -> Response<Body> {
        let (number, message) = match self {
            Self::TransportUnknown => (0, "Transport unknown"),
            Self::SessionUnknown => (1, "Session ID unknown"),
            Self::HandshakeMethod => (2, "Bad handshake method"),
            Self::BadRequest => (3, "Bad request"),
            Self::Forbidden(message) => (4, message.as_str()),
            Self::ProtocolVersion => (5, "Unsupported protocol version"),
            Self::Unavailable | Self::Unauthenticated | Self::Late => {
                return unavailable(StatusCode::SERVICE_UNAVAILABLE);
            }
            Self::AddressUnauthenticated => return unavailable(StatusCode::TOO_MANY_REQUESTS),
            Self::BodyTooSlow => return last(StatusCode::REQUEST_TIMEOUT),
            Self::RequestLine => return last(StatusCode::URI_TOO_LONG),
            Self::Headers => return last(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE),
            Self::PayloadTooLarge => return empty(StatusCode::PAYLOAD_TOO_LARGE),
            Self::Overlap => return empty(StatusCode::BAD_REQUEST),
            Self::Method => return empty(StatusCode::METHOD_NOT_ALLOWED),
        };
        let status = if number == 4 {
            StatusCode::FORBIDDEN
        } else {
            StatusCode::BAD_REQUEST
        };
        let body = serde_json::json!({ "code": number, "message": message }).to_string();
        with_type(status, "application/json", Bytes::from(body))
    }
}

/// Text of a polling response.
pub(crate) fn payload(body: Bytes) -> Response<Body> {
    no_store(with_type(StatusCode::OK, "text/plain; charset=UTF-8", body))
}

/// The answer to an accepted polling body.
pub(crate) fn ok() -> Response<Body> {
    no_store(with_type(
        StatusCode::OK,
        "text/html",
        Bytes::from_static(b"ok"),
    ))
}

pub(crate) fn empty(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::default());
    *response.status_mut() = status;
    response
}

/// An answer after which the connection is not used any more.
fn last(status: StatusCode) -> Response<Body> {
    let mut response = empty(status);
    response
        .headers_mut()
        .insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

/// Try again later: the server, or what it has for this address, is full.
fn unavailable(status: StatusCode) -> Response<Body> {
    let body: &[u8] = if status == StatusCode::TOO_MANY_REQUESTS {
        br#"{"code":7,"message":"Too many connections"}"#
    } else {
        br#"{"code":6,"message":"Server is full or shutting down"}"#
    };
    let mut response = with_type(status, "application/json", Bytes::from_static(body));
    response
        .headers_mut()
        .insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
    response
}

fn with_type(status: StatusCode, content_type: &'static str, body: Bytes) -> Response<Body> {
    let mut response = Response::new(Body::new(body));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

fn no_store(mut response: Response<Body>) -> Response<Body> {
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;

    #[tokio::test]
    async fn error_codes_are_numbers() {
        for (refusal, status, expected) in [
            (
                Refusal::TransportUnknown,
                400,
                r#"{"code":0,"message":"Transport unknown"}"#,
            ),
            (
                Refusal::SessionUnknown,
                400,
                r#"{"code":1,"message":"Session ID unknown"}"#,
            ),
            (
                Refusal::HandshakeMethod,
                400,
                r#"{"code":2,"message":"Bad handshake method"}"#,
            ),
            (
                Refusal::BadRequest,
                400,
                r#"{"code":3,"message":"Bad request"}"#,
            ),
            (
                Refusal::Forbidden("no\"way".into()),
                403,
                r#"{"code":4,"message":"no\"way"}"#,
            ),
            (
                Refusal::ProtocolVersion,
                400,
                r#"{"code":5,"message":"Unsupported protocol version"}"#,
            ),
            (Refusal::PayloadTooLarge, 413, ""),
            (Refusal::Overlap, 400, ""),
        ] {
            let response = refusal.response();
            assert_eq!(response.status(), status, "{refusal:?}");
            let body = response.into_body().collect().await.unwrap().to_bytes();
            assert_eq!(body, expected.as_bytes(), "{refusal:?}");
        }
    }
}
