//! gzip and deflate for polling responses (Engine.IO's `httpCompression`).

use std::io::Write;

use bytes::Bytes;
use flate2::{
    Compression,
    write::{GzEncoder, ZlibEncoder},
};
use http::{HeaderMap, HeaderValue, Response, header};

use super::reply::{self, Body};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Encoding {
    Gzip,
    Deflate,
}

/// The response for `body`, compressed when it is large enough and the client accepts it.
pub(crate) fn payload(
    body: Bytes,
    request: &HeaderMap,
    bytes_min: Option<usize>,
) -> Response<Body> {
    let wanted = bytes_min
        .filter(|min| body.len() >= *min)
        .and_then(|_| accepted(request));
    let Some((encoding, compressed)) =
        wanted.and_then(|encoding| compress(encoding, &body).map(|bytes| (encoding, bytes)))
    else {
        return reply::payload(body);
    };
    let mut response = reply::payload(compressed);
    let name = if encoding == Encoding::Gzip {
        "gzip"
    } else {
        "deflate"
    };
    response
        .headers_mut()
        .insert(header::CONTENT_ENCODING, HeaderValue::from_static(name));
    response
        .headers_mut()
        .append(header::VARY, HeaderValue::from_static("Accept-Encoding"));
    response
}

/// Whether the client takes gzip.
pub(super) fn accepts_gzip(request: &HeaderMap) -> bool {
    accepted(request) == Some(Encoding::Gzip)
}

/// As small as gzip makes it, for bodies that are compressed once and sent often.
pub(super) fn gzip_best(body: &[u8]) -> Option<Bytes> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(body.len() / 2), Compression::best());
    encoder.write_all(body).ok()?;
    encoder.finish().ok().map(Bytes::from)
}

/// Gzip is preferred; `q=0` means no (RFC 9110, section 12.5.3).
fn accepted(request: &HeaderMap) -> Option<Encoding> {
    let header = request.get(header::ACCEPT_ENCODING)?.to_str().ok()?;
    let takes = |name: &str| {
        header.split(',').any(|item| {
            let mut parts = item.split(';').map(str::trim);
            parts
                .next()
                .is_some_and(|coding| coding.eq_ignore_ascii_case(name))
                && !parts.any(|parameter| {
                    parameter
                        .strip_prefix("q=")
                        .is_some_and(|q| q.parse::<f32>().is_ok_and(|q| q == 0.0))
                })
        })
    };
    if takes("gzip") {
        Some(Encoding::Gzip)
    } else {
        takes("deflate").then_some(Encoding::Deflate)
    }
}

fn compress(encoding: Encoding, body: &[u8]) -> Option<Bytes> {
    let out = Vec::with_capacity(body.len() / 2);
    let compressed = match encoding {
        Encoding::Gzip => {
            let mut encoder = GzEncoder::new(out, Compression::fast());
            encoder.write_all(body).ok()?;
            encoder.finish().ok()?
        }
        Encoding::Deflate => {
            let mut encoder = ZlibEncoder::new(out, Compression::fast());
            encoder.write_all(body).ok()?;
            encoder.finish().ok()?
        }
    };
    Some(Bytes::from(compressed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accept_encoding_is_honoured() {
        for (value, expected) in [
            ("gzip, deflate, br", Some(Encoding::Gzip)),
            ("deflate", Some(Encoding::Deflate)),
            ("gzip;q=0, deflate", Some(Encoding::Deflate)),
            ("br", None),
            ("identity", None),
            ("gzip;q=0", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static(value));
            assert_eq!(accepted(&headers), expected, "{value}");
        }
    }

    #[test]
    fn small_bodies_stay_plain() {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
        for (length, compressed) in [(1023, false), (1024, true), (1025, true)] {
            let response = payload(Bytes::from(vec![b'x'; length]), &headers, Some(1024));
            assert_eq!(
                response.headers().contains_key(header::CONTENT_ENCODING),
                compressed,
                "{length}"
            );
        }
    }
}
