//! Reading a polling body under its limit, while it grows.

use bytes::{Buf, Bytes, BytesMut};
use http_body::Body;
use http_body_util::BodyExt;

/// Why a body could not be read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum BodyError {
    /// More bytes than the limit, declared or received.
    TooLarge,
    /// The client went away.
    Aborted,
}

/// Reads the body; stops at the first byte over `bytes_max` (CVE-2020-36048).
pub(crate) async fn read<B>(body: B, bytes_max: usize) -> Result<Bytes, BodyError>
where
    B: Body,
{
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if announced > bytes_max {
        return Err(BodyError::TooLarge);
    }
    let mut body = std::pin::pin!(body);
    let mut read = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(mut data) = frame.map_err(|_| BodyError::Aborted)?.into_data() else {
            continue;
        };
        if data.remaining() > bytes_max - read.len() {
            return Err(BodyError::TooLarge);
        }
        if read.is_empty() {
            // Most bodies come in one piece.
            read.reserve(announced.max(data.remaining()));
        }
        while data.has_remaining() {
            let chunk = data.chunk();
            read.extend_from_slice(chunk);
            let length = chunk.len();
            data.advance(length);
        }
    }
    Ok(read.freeze())
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::Full;

    #[tokio::test]
    async fn limit_is_inclusive() {
        for (length, expected) in [(9, Ok(9)), (10, Ok(10)), (11, Err(BodyError::TooLarge))] {
            let body = Full::new(Bytes::from(vec![b'x'; length]));
            assert_eq!(
                read(body, 10).await.map(|bytes| bytes.len()),
                expected,
                "{length}"
            );
        }
    }
}
