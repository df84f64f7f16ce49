//! A client for HTTP/1.1 that sends what it is told to, valid or not.

use std::net::SocketAddr;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::within;

/// An answer of the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// The first header of this name.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(each, _)| each.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// All values of a header, joined as RFC 9110, section 5.3 has it.
    pub(crate) fn joined(&self, name: &str) -> String {
        let values: Vec<_> = self
            .headers
            .iter()
            .filter(|(each, _)| each.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
            .collect();
        values.join(", ")
    }

    /// The body, which must be text.
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

/// A connection, with what was read beyond the last answer.
pub(crate) struct Connection {
    pub(crate) stream: TcpStream,
    pub(crate) unread: Vec<u8>,
}

impl Connection {
    pub(crate) async fn open(addr: SocketAddr) -> Self {
        let stream = within("connect", TcpStream::connect(addr)).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self {
            stream,
            unread: Vec::new(),
        }
    }

    /// Sends these bytes and no others. A server that has already hung up is found out by reading.
    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        let _ = within("send", self.stream.write_all(bytes)).await;
    }

    /// Sends a request. `Host` is added, and with a body `Content-Length`.
    pub(crate) async fn request(
        &mut self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) {
        let mut bytes = head(method, target, headers);
        if !body.is_empty() || method == "POST" {
            bytes.extend_from_slice(format!("Content-Length: {}\r\n", body.len()).as_bytes());
        }
        bytes.extend_from_slice(b"\r\n");
        bytes.extend_from_slice(body);
        self.send(&bytes).await;
    }

    /// Reads the answer to a request that was not `HEAD`.
    pub(crate) async fn answer(&mut self) -> Answer {
        within("an answer", self.read_answer(true)).await
    }

    /// Reads the answer to a `HEAD` request.
    pub(crate) async fn answer_without_body(&mut self) -> Answer {
        within("an answer", self.read_answer(false)).await
    }

    /// Reads until the server ends the connection, and returns what came.
    pub(crate) async fn rest(&mut self) -> Vec<u8> {
        within("the end of the connection", async {
            while self.fill().await {}
        })
        .await;
        std::mem::take(&mut self.unread)
    }

    async fn read_answer(&mut self, with_body: bool) -> Answer {
        let end = loop {
            if let Some(at) = self.unread.windows(4).position(|four| four == b"\r\n\r\n") {
                break at;
            }
            assert!(
                self.fill().await,
                "the connection ended before an answer, after {:?}",
                String::from_utf8_lossy(&self.unread)
            );
        };
        let head = String::from_utf8(self.unread.drain(..end + 4).collect()).unwrap();
        let mut lines = head.trim_end().split("\r\n");
        let status = lines
            .next()
            .and_then(|line| line.split(' ').nth(1))
            .and_then(|status| status.parse().ok())
            .unwrap_or_else(|| panic!("no status line: {head:?}"));
        let headers: Vec<(String, String)> = lines
            .map(|line| {
                let (name, value) = line.split_once(':').unwrap();
                (name.to_ascii_lowercase(), value.trim().to_owned())
            })
            .collect();
        let mut answer = Answer {
            status,
            headers,
            body: Vec::new(),
        };
        if !with_body || matches!(status, 100 | 101 | 204 | 304) {
            return answer;
        }
        assert_eq!(
            answer.header("transfer-encoding"),
            None,
            "this server knows the length of all that it sends"
        );
        match answer.header("content-length") {
            Some(length) => {
                let length = length.parse().unwrap();
                while self.unread.len() < length {
                    assert!(self.fill().await, "the connection ended inside a body");
                }
                answer.body = self.unread.drain(..length).collect();
            }
            None => {
                while self.fill().await {}
                answer.body = std::mem::take(&mut self.unread);
            }
        }
        answer
    }

    /// Reads once; `false` at the end of the stream, in order or not.
    pub(crate) async fn fill(&mut self) -> bool {
        matches!(self.stream.read_buf(&mut self.unread).await, Ok(length) if length > 0)
    }
}

/// The head of a request, up to where its last headers go.
pub(crate) fn head(method: &str, target: &str, headers: &[(&str, &str)]) -> Vec<u8> {
    let mut head = format!("{method} {target} HTTP/1.1\r\n");
    if !headers
        .iter()
        .any(|(name, _)| name.eq_ignore_ascii_case("host"))
    {
        head.push_str("Host: localhost\r\n");
    }
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.into_bytes()
}

/// One request on a connection of its own.
pub(crate) async fn request(
    addr: SocketAddr,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Answer {
    let mut connection = Connection::open(addr).await;
    connection.request(method, target, headers, body).await;
    if method == "HEAD" {
        connection.answer_without_body().await
    } else {
        connection.answer().await
    }
}

/// `GET` on a connection of its own.
pub(crate) async fn get(addr: SocketAddr, target: &str) -> Answer {
    request(addr, "GET", target, &[], b"").await
}

/// `POST` on a connection of its own, with the type that stock clients send.
pub(crate) async fn post(addr: SocketAddr, target: &str, body: impl AsRef<[u8]>) -> Answer {
    let headers = [("Content-Type", "text/plain;charset=UTF-8")];
    request(addr, "POST", target, &headers, body.as_ref()).await
}
