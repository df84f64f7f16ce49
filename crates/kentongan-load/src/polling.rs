//! HTTP long-polling: one connection for the GET that waits, one for POSTs.
//!
//! Owns requests, responses and the queue of packets that wait for the POST before them. What a packet means is
//! [`crate::link`]'s business.

use std::ops::Range;

use kentongan_protocol::engine::payload::SEPARATOR;
use mio::Token;

use crate::{
    link::{Ending, Reach, closed},
    stream::{Got, Stream},
    target::Target,
};

/// The polling half of a connection.
#[derive(Debug, Default)]
pub(crate) struct Polling {
    /// The session, once the server has told.
    pub(crate) sid: String,
    post: Option<Stream>,
    /// The beginning of a response to a POST.
    tail: Vec<u8>,
    is_posting: bool,
    /// Packets that wait to be posted, in the form of a body.
    queue: Vec<u8>,
}

impl Polling {
    /// Queues a packet.
    pub(crate) fn send(&mut self, packet: &[u8]) {
        if !self.queue.is_empty() {
            self.queue.push(SEPARATOR);
        }
        self.queue.extend_from_slice(packet);
    }

    /// The next GET.
    pub(crate) fn get(&self, target: &Target) -> String {
        let sid = if self.sid.is_empty() {
            String::new()
        } else {
            format!("&sid={}", self.sid)
        };
        format!(
            "GET {}?EIO=4&transport=polling{sid} HTTP/1.1\r\nHost: {}\r\n\r\n",
            target.path, target.authority
        )
    }

    /// Posts what is queued, if the last POST is answered. Servers close a connection that was idle for seconds, so it is
    /// opened anew if need be.
    pub(crate) fn flush(
        &mut self,
        index: usize,
        token: Token,
        reach: &Reach,
    ) -> Result<(), Ending> {
        if self.queue.is_empty() || self.is_posting || self.sid.is_empty() {
            return Ok(());
        }
        let target = &reach.target;
        let post = match &mut self.post {
            Some(post) => post,
            post @ None => post.insert(
                Stream::connect(target, index, token, &reach.registry)
                    .map_err(Ending::Unreachable)?,
            ),
        };
        let mut request = format!(
            "POST {}?EIO=4&transport=polling&sid={} HTTP/1.1\r\nHost: {}\r\n\
             Content-Type: text/plain;charset=UTF-8\r\nContent-Length: {}\r\n\r\n",
            target.path,
            self.sid,
            target.authority,
            self.queue.len()
        )
        .into_bytes();
        request.append(&mut self.queue);
        self.is_posting = true;
        post.write(&request).map_err(closed)
    }

    /// The connection for POSTs has something. Returns whether a POST was answered.
    pub(crate) fn readable(&mut self, buffer: &mut [u8]) -> Result<bool, Ending> {
        let was_posting = self.is_posting;
        while let Some(post) = &mut self.post {
            post.writable().map_err(closed)?;
            match post.read(buffer).map_err(closed)? {
                Got::Nothing => break,
                Got::End if self.is_posting => {
                    return Err(Ending::Closed("a POST was not answered".into()));
                }
                Got::End => self.post = None,
                Got::Bytes(len) => self.tail.extend_from_slice(&buffer[..len]),
            }
            if let Some((_, end)) = response(&self.tail)? {
                self.tail.drain(..end);
                self.is_posting = false;
            }
        }
        Ok(was_posting && !self.is_posting)
    }
}

/// The body of the first response and where the response ends; `None` while it is incomplete.
pub(crate) fn response(bytes: &[u8]) -> Result<Option<(Range<usize>, usize)>, Ending> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut response = httparse::Response::new(&mut headers);
    let head = match response.parse(bytes) {
        Ok(httparse::Status::Complete(len)) => len,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(error) => {
            return Err(Ending::Refused(format!(
                "what it sends is no HTTP: {error}"
            )));
        }
    };
    let length = response
        .headers
        .iter()
        .find(|header| header.name.eq_ignore_ascii_case("content-length"))
        .and_then(|header| {
            std::str::from_utf8(header.value)
                .ok()?
                .parse::<usize>()
                .ok()
        });
    let Some(end) = length.and_then(|length| head.checked_add(length)) else {
        return Err(Ending::Refused("a response without Content-Length".into()));
    };
    if bytes.len() < end {
        return Ok(None);
    }
    match response.code {
        Some(200) => Ok(Some((head..end, end))),
        code => Err(Ending::Refused(format!(
            "HTTP status {} {}",
            code.unwrap_or(0),
            String::from_utf8_lossy(&bytes[head..end]).trim()
        ))),
    }
}

/// The packets of a body.
pub(crate) fn packets(body: &[u8]) -> impl Iterator<Item = &[u8]> {
    body.split(|byte| *byte == SEPARATOR)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn responses() {
        let whole = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n4a\x1e4b!";
        let (body, end) = response(whole).unwrap().unwrap();
        assert_eq!(end, whole.len() - 1);
        let found: Vec<&[u8]> = packets(&whole[body]).collect();
        assert_eq!(found, [b"4a", b"4b"]);
        for cut in 0..end {
            assert!(response(&whole[..cut]).unwrap().is_none(), "cut at {cut}");
        }
        for bad in [
            "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n",
            "HTTP/1.1 200 OK\r\n\r\n",
            "?\r\n\r\n",
        ] {
            assert!(response(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn queues_while_a_post_is_under_way() {
        let mut polling = Polling::default();
        polling.send(b"4a");
        polling.send(b"4b");
        assert_eq!(polling.queue, b"4a\x1e4b");
    }
}
