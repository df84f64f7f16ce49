//! The request that opened a session, as handlers see it.
//!
//! Kept in one compact piece: hyper's own types would pin its whole read buffer for the life of the connection.

use std::{borrow::Cow, net::IpAddr, net::SocketAddr, time::SystemTime};

use http::{Extensions, HeaderMap, HeaderName, header, request::Parts, uri::PathAndQuery};

use crate::{
    admission::address::client_address,
    config::{Config, HandshakeRetention},
    http::query,
};

/// The address of the peer, put into the request's extensions by [`Server::serve`](crate::Server::serve).
#[derive(Debug, Clone, Copy)]
pub struct PeerAddr(pub SocketAddr);

/// In the request's extensions when this server itself ended the client's TLS.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OverTls;

/// The request that opened a session (Node: `socket.handshake`).
#[derive(Debug)]
pub struct Handshake {
    /// Path and query as they came, and then lines of `name: value`, names in lower case.
    text: Box<str>,
    uri_bytes: u32,
    address: Option<IpAddr>,
    time: SystemTime,
    secure: bool,
    extensions: Extensions,
}

/// The address of the client that sent a request.
pub(crate) fn client(
    headers: &HeaderMap,
    extensions: &Extensions,
    config: &Config,
) -> Option<IpAddr> {
    let peer = extensions.get::<PeerAddr>().map(|peer| peer.0.ip());
    #[cfg(feature = "axum")]
    let peer = peer.or_else(|| {
        extensions
            .get::<axum::extract::ConnectInfo<SocketAddr>>()
            .map(|info| info.0.ip())
    });
    peer.map(|peer| client_address(peer, headers, &config.trusted_proxies))
}

/// Headers that say nothing but how this one connection is to be used (RFC 9110 section 7.6.1, RFC 6455 section 4.1). They
/// would be half of what an idle session keeps of its handshake.
const OF_THE_CONNECTION: [HeaderName; 7] = [
    header::CONNECTION,
    header::UPGRADE,
    header::SEC_WEBSOCKET_KEY,
    header::SEC_WEBSOCKET_VERSION,
    header::SEC_WEBSOCKET_EXTENSIONS,
    header::TE,
    header::TRANSFER_ENCODING,
];

impl Handshake {
    pub(crate) fn new(parts: &mut Parts, config: &Config) -> Self {
        let address = client(&parts.headers, &parts.extensions, config);
        let uri = parts.uri.path_and_query().map_or("/", PathAndQuery::as_str);
        let mut text = String::from(uri);
        let uri_bytes = u32::try_from(uri.len()).expect("http bounds a URI to 64 KiB");
        if config.handshake_retention == HandshakeRetention::Session {
            for (name, value) in &parts.headers {
                if OF_THE_CONNECTION.contains(name) {
                    continue;
                }
                text.push_str(name.as_str());
                text.push_str(": ");
                text.push_str(&String::from_utf8_lossy(value.as_bytes()));
                text.push('\n');
            }
        }
        let forwarded = parts
            .headers
            .get("x-forwarded-proto")
            .is_some_and(|proto| proto.as_bytes() == b"https");
        let mut extensions = std::mem::take(&mut parts.extensions);
        extensions.remove::<PeerAddr>();
        let over_tls = extensions.remove::<OverTls>().is_some();
        #[cfg(feature = "axum")]
        extensions.remove::<axum::extract::ConnectInfo<SocketAddr>>();
        Self {
            text: text.into(),
            uri_bytes,
            address,
            time: SystemTime::now(),
            secure: over_tls || forwarded || parts.uri.scheme_str() == Some("https"),
            // An emptied map would keep its table.
            extensions: if extensions.is_empty() {
                Extensions::new()
            } else {
                extensions
            },
        }
    }

    /// Path and query of the request.
    #[must_use]
    pub fn uri(&self) -> &str {
        self.split().0
    }

    fn split(&self) -> (&str, &str) {
        self.text
            .split_at_checked(self.uri_bytes as usize)
            .unwrap_or((&self.text, ""))
    }

    /// The first header of this name, in lower case. `None` too when headers are not kept.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers()
            .find(|(each, _)| *each == name)
            .map(|(_, value)| value)
    }

    /// Every header, names in lower case, without those that say only how the connection is to be used: `connection`,
    /// `upgrade`, `te`, `transfer-encoding`, `sec-websocket-key`, `-version` and `-extensions`.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        self.split()
            .1
            .lines()
            .filter_map(|line| line.split_once(": "))
    }

    /// The last query parameter of this name, decoded.
    #[must_use]
    pub fn query(&self, name: &str) -> Option<String> {
        let query = self.uri().split_once('?')?.1;
        query::pairs(query)
            .filter(|(each, _)| each == name)
            .last()
            .map(|(_, value)| value.into_owned())
    }

    /// Every query parameter, decoded, in order.
    pub fn queries(&self) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
        query::pairs(self.uri().split_once('?').map_or("", |(_, query)| query))
    }

    /// Address of the client: that of the peer, unless the peer is one of `Config::trusted_proxies`; then what the
    /// proxies say. `None` when the server in front did not tell.
    #[must_use]
    pub fn address(&self) -> Option<IpAddr> {
        self.address
    }

    /// When the request came.
    #[must_use]
    pub fn time(&self) -> SystemTime {
        self.time
    }

    /// Whether the client used TLS: with this server, or with a proxy that says so.
    #[must_use]
    pub fn is_secure(&self) -> bool {
        self.secure
    }

    /// Whether a web page sent it (it has an `Origin`).
    #[must_use]
    pub fn is_cross_domain(&self) -> bool {
        self.header(header::ORIGIN.as_str()).is_some()
    }

    /// What tower middleware put into the request.
    #[must_use]
    pub fn extensions(&self) -> &Extensions {
        &self.extensions
    }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    #[test]
    fn headers_of_the_connection_are_not_kept() {
        let mut request = Request::builder().uri("/socket.io/?EIO=4");
        for (name, value) in [
            ("host", "example.com"),
            ("connection", "Upgrade"),
            ("upgrade", "websocket"),
            ("sec-websocket-key", "x"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-extensions", "permessage-deflate"),
            ("sec-websocket-protocol", "mine"),
            ("te", "trailers"),
            ("cookie", "a=b"),
        ] {
            request = request.header(name, value);
        }
        let (mut parts, ()) = request.body(()).unwrap().into_parts();
        let handshake = Handshake::new(&mut parts, &Config::default());
        let mut kept: Vec<_> = handshake.headers().collect();
        kept.sort_unstable();
        let expected = [
            ("cookie", "a=b"),
            ("host", "example.com"),
            ("sec-websocket-protocol", "mine"),
        ];
        assert_eq!(kept, expected);
        assert_eq!(handshake.uri(), "/socket.io/?EIO=4");
    }
}
