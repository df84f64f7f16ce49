//! The client's side of TLS, with rustls, and servers that end it.

use std::{collections::VecDeque, io::ErrorKind, net::SocketAddr, sync::Arc, time::Duration};

use base64::Engine as _;
use kentongan::{
    Ack, Args, Config, RefusalCode, ServeConfig, Server, Socket, Tls,
    rustls::{
        ClientConfig, RootCertStore,
        crypto::ring,
        pki_types::{CertificateDer, ServerName},
    },
};
use kentongan_protocol::{
    limits::Limits,
    websocket::{
        Opcode,
        decode::{Decoder, Incoming, Role},
        encode,
    },
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::{TestServer, http::head, serve_with, websocket::UPGRADE, within};

const WEBSOCKET: &str = "/socket.io/?EIO=4&transport=websocket";
const MASK: [u8; 4] = [1, 2, 3, 4];

/// A certificate for `localhost` and its key, as PEM, and what trusts it.
pub(crate) struct Identity {
    pub(crate) chain: String,
    pub(crate) key: String,
    certificate: CertificateDer<'static>,
}

impl Identity {
    pub(crate) fn new() -> Self {
        let signed = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        Self {
            chain: pem("CERTIFICATE", signed.cert.der()),
            key: pem("PRIVATE KEY", &signed.signing_key.serialize_der()),
            certificate: signed.cert.der().clone(),
        }
    }

    pub(crate) fn tls(&self) -> Tls {
        Tls::from_pem(self.chain.as_bytes(), self.key.as_bytes()).unwrap()
    }

    pub(crate) fn connector(&self, alpn: &[&str]) -> TlsConnector {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).unwrap();
        let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        TlsConnector::from(Arc::new(config))
    }

    /// A connection whose handshake is done.
    pub(crate) async fn connect(&self, addr: SocketAddr) -> TlsStream<TcpStream> {
        self.try_connect(addr, &["http/1.1"]).await.unwrap()
    }

    pub(crate) async fn try_connect(
        &self,
        addr: SocketAddr,
        alpn: &[&str],
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(addr).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        within(
            "a TLS handshake",
            self.connector(alpn).connect(name, stream),
        )
        .await
    }

    /// A client in the root namespace.
    pub(crate) async fn join(&self, addr: SocketAddr) -> Client {
        let mut client = Client::open(self.connect(addr).await).await;
        client.send("40").await;
        assert!(client.text().await.starts_with("40{"));
        client
    }
}

pub(crate) fn pem(label: &str, der: &[u8]) -> String {
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let lines: Vec<_> = text
        .as_bytes()
        .chunks(64)
        .map(|line| std::str::from_utf8(line).unwrap())
        .collect();
    format!(
        "-----BEGIN {label}-----\n{}\n-----END {label}-----\n",
        lines.join("\n")
    )
}

/// A WebSocket over TLS.
pub(crate) struct Client {
    pub(crate) stream: TlsStream<TcpStream>,
    decoder: Decoder,
    unread: Vec<u8>,
    queue: VecDeque<Received>,
}

/// What the server sent.
#[derive(Debug, PartialEq)]
pub(crate) enum Received {
    Text(String),
    Close(Option<u16>),
    /// The end of TLS, said in order.
    End,
    /// The end of TCP without one of TLS.
    Cut(ErrorKind),
}

impl Client {
    /// Up to the open packet.
    pub(crate) async fn open(mut stream: TlsStream<TcpStream>) -> Self {
        let mut request = head("GET", WEBSOCKET, &UPGRADE);
        request.extend_from_slice(b"\r\n");
        stream.write_all(&request).await.unwrap();
        let mut unread = Vec::new();
        let end = loop {
            if let Some(at) = unread.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            let read = within("a 101", stream.read_buf(&mut unread)).await;
            assert!(read.unwrap() > 0, "{}", String::from_utf8_lossy(&unread));
        };
        assert!(unread.starts_with(b"HTTP/1.1 101 "));
        unread.drain(..end);
        let mut client = Self {
            stream,
            decoder: Decoder::new(Role::Client, false),
            unread,
            queue: VecDeque::new(),
        };
        assert!(client.text().await.starts_with('0'));
        client
    }

    pub(crate) async fn send(&mut self, text: &str) {
        let mut out = bytes::BytesMut::new();
        encode::message_masked(Opcode::Text, text.as_bytes(), MASK, &mut out);
        within("sending", self.stream.write_all(&out))
            .await
            .unwrap();
        self.stream.flush().await.unwrap();
    }

    pub(crate) async fn recv(&mut self) -> Received {
        within("a frame", self.next()).await
    }

    pub(crate) async fn text(&mut self) -> String {
        match self.recv().await {
            Received::Text(text) => text,
            other => panic!("expected text, got {other:?}"),
        }
    }

    pub(crate) async fn next(&mut self) -> Received {
        loop {
            if let Some(received) = self.queue.pop_front() {
                return received;
            }
            if self.unread.is_empty() {
                match self.stream.read_buf(&mut self.unread).await {
                    Ok(0) => return Received::End,
                    Ok(_) => {}
                    Err(error) => return Received::Cut(error.kind()),
                }
            }
            let limits = Limits::default();
            let mut input = std::mem::take(&mut self.unread);
            let mut feed = self.decoder.feed(&mut input, &limits);
            while let Some(incoming) = feed.next() {
                match incoming.unwrap() {
                    Incoming::Text(text) => self.queue.push_back(Received::Text(text.to_owned())),
                    Incoming::Close { code, .. } => self.queue.push_back(Received::Close(code)),
                    other => panic!("unexpected {other:?}"),
                }
            }
        }
    }
}

/// Handles `echo`.
pub(crate) fn echo(server: &Server) {
    server
        .of("/")
        .on("echo", |socket: Socket, args: Args, ack: Ack| async move {
            let _ = socket.emit("echo", &args);
            ack.send(args);
        });
}

/// Serves with TLS.
pub(crate) async fn start(config: Config, tls: Tls, install: impl FnOnce(&Server)) -> TestServer {
    let server = Server::new(config).unwrap();
    install(&server);
    let mut serve = ServeConfig::default();
    serve.tls = Some(tls);
    serve_with(server, serve).await
}

/// Handshakes that were counted as refused.
pub(crate) fn refused(server: &TestServer) -> u64 {
    server
        .server
        .metrics()
        .snapshot()
        .refused(RefusalCode::TlsHandshake)
}

/// Waits until something holds that nothing tells of.
pub(crate) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    within(what, async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}
