//! Where the server is, and from which address to call it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs};

use crate::{
    error::LoadError,
    options::{Options, Transport},
    tls::Tls,
};

/// The server and how it is spoken to.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    /// The first address of the host.
    pub(crate) addr: SocketAddr,
    /// Value of the `Host` header.
    pub(crate) authority: String,
    /// Set if TLS is to be spoken.
    pub(crate) tls: Option<Tls>,
    /// Whether compression is offered.
    pub(crate) deflate: bool,
    /// How packets travel.
    pub(crate) transport: Transport,
    /// Path of the endpoint, with its leading slash.
    pub(crate) path: String,
    /// Namespace, with its leading slash.
    pub(crate) namespace: String,
}

impl Target {
    /// Reads the URL and resolves its host.
    ///
    /// # Errors
    /// [`LoadError::Usage`] if it is no URL, [`LoadError::Unresolved`].
    pub(crate) fn new(options: &Options) -> Result<Self, LoadError> {
        let (tls, authority) = split(&options.url).ok_or_else(|| {
            LoadError::Usage(format!(
                "--url {}: expected http://HOST[:PORT] or https://HOST[:PORT], without a path (see --path)",
                options.url
            ))
        })?;
        let (host, port) = host_and_port(authority, if tls { 443 } else { 80 })
            .ok_or_else(|| LoadError::Usage(format!("--url {}: no such port", options.url)))?;
        let unresolved = |source| LoadError::Unresolved {
            host: host.to_owned(),
            source,
        };
        let addr = (host, port)
            .to_socket_addrs()
            .map_err(unresolved)?
            .next()
            .ok_or_else(|| unresolved(std::io::ErrorKind::NotFound.into()))?;
        Ok(Self {
            addr,
            authority: authority.to_owned(),
            tls: tls.then(|| Tls::new(host, options.insecure)).transpose()?,
            deflate: options.deflate,
            transport: options.transport,
            path: options.path.clone(),
            namespace: options.namespace.clone(),
        })
    }

    /// The address to bind to before connecting: one address has no more than about 28,000 ports, but on the loopback
    /// interface there are addresses enough.
    pub(crate) fn source(&self, index: usize) -> Option<SocketAddr> {
        let last = u8::try_from(1 + index / CONNECTIONS_PER_ADDRESS).ok()?;
        let is_loopback = self.addr.ip() == IpAddr::V4(Ipv4Addr::LOCALHOST);
        (is_loopback && last > 1).then(|| (Ipv4Addr::new(127, 0, 0, last), 0).into())
    }
}

fn split(url: &str) -> Option<(bool, &str)> {
    let (scheme, rest) = url.split_once("://")?;
    let tls = match scheme {
        "http" | "ws" => false,
        "https" | "wss" => true,
        _ => return None,
    };
    let authority = rest.strip_suffix('/').unwrap_or(rest);
    let is_bare = !authority.is_empty() && !authority.contains(['/', '?', '#', '@', ' ']);
    is_bare.then_some((tls, authority))
}

fn host_and_port(authority: &str, preset: u16) -> Option<(&str, u16)> {
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok()?),
        _ => (authority, preset),
    };
    let host = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host);
    Some((host, port))
}

const CONNECTIONS_PER_ADDRESS: usize = 20_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls() {
        for (url, expected) in [
            ("http://a:3000", Some((false, "a:3000"))),
            ("wss://a/", Some((true, "a"))),
            ("http://a/b", None),
            ("http://", None),
            ("a:3000", None),
            ("ftp://a", None),
        ] {
            assert_eq!(split(url), expected, "{url}");
        }
        assert_eq!(host_and_port("a", 80), Some(("a", 80)));
        assert_eq!(host_and_port("a:1", 80), Some(("a", 1)));
        assert_eq!(host_and_port("[::1]:1", 80), Some(("::1", 1)));
        assert_eq!(host_and_port("[::1]", 80), Some(("::1", 80)));
        assert_eq!(host_and_port("a:x", 80), None);
    }

    #[test]
    fn more_than_one_source_address() {
        let target = Target {
            addr: (Ipv4Addr::LOCALHOST, 1).into(),
            authority: String::new(),
            tls: None,
            deflate: false,
            transport: Transport::Websocket,
            path: String::new(),
            namespace: String::new(),
        };
        assert_eq!(target.source(19_999), None);
        assert_eq!(target.source(20_000), Some(([127, 0, 0, 2], 0).into()));
        assert_eq!(target.source(10_000_000), None);
    }
}
