//! Reading a polling body under its limits, while it grows.

use bytes::{Buf, Bytes, BytesMut};
use http_body::Body;
use http_body_util::BodyExt;
use tokio::time::Instant;

use crate::config::BodyRate;

/// Why a body could not be read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum BodyError {
    /// More bytes than the limit, declared or received.
    TooLarge,
    /// The client went away.
    Aborted,
    /// Fewer bytes per second than the least that is accepted.
    TooSlow,
}

/// Reads the body; stops at the first byte over `bytes_max` (CVE-2020-36048), and when it falls behind `rate`.
pub(crate) async fn read<B>(
    body: B,
    bytes_max: usize,
    rate: Option<BodyRate>,
) -> Result<Bytes, BodyError>
where
    B: Body,
{
    let started = Instant::now();
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if announced > bytes_max {
        return Err(BodyError::TooLarge);
    }
    let mut body = std::pin::pin!(body);
    let mut read = BytesMut::new();
    loop {
        let frame = match rate.map(|rate| started + rate.time_for(read.len())) {
            None => body.frame().await,
            Some(deadline) => tokio::time::timeout_at(deadline, body.frame())
                .await
                .map_err(|_| BodyError::TooSlow)?,
        };
        let Some(frame) = frame else { break };
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
                read(body, 10, None).await.map(|bytes| bytes.len()),
                expected,
                "{length}"
            );
        }
    }
}
