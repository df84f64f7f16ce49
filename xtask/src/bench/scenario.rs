//! What is measured: one row for each scenario. A scenario is an invocation of `kentongan-load` and who takes part.

use crate::{
    bench::{
        Length,
        peer::{KENTONGAN, NODE, Peer},
    },
    failure::Failure,
};

/// Who takes part in a scenario.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peers {
    /// Everybody.
    All,
    /// Only this project's server and the floors: what grows may grow in the kernel.
    OursAndFloors,
    /// The servers that speak HTTP long-polling and can be compared.
    OursAndNode,
    /// Only this project's server.
    Ours,
}

impl Peers {
    pub(crate) fn include(self, peer: &Peer) -> bool {
        match self {
            Self::All => true,
            Self::OursAndFloors => peer.name == KENTONGAN || peer.is_floor(),
            Self::OursAndNode => [KENTONGAN, NODE].contains(&peer.name),
            Self::Ours => peer.name == KENTONGAN,
        }
    }
}

/// What an operation is, and with it which figures say something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    /// Memory is measured, while nothing happens.
    Connection,
    /// CPU time of a handshake.
    Handshake,
    /// A request with its answers.
    RoundTrip,
    /// A message at one recipient.
    Delivery,
}

impl Unit {
    /// The word for one operation in tables.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Connection => "connection",
            Self::Handshake => "connect",
            Self::RoundTrip => "operation",
            Self::Delivery => "delivery",
        }
    }

    /// The word for many.
    pub(crate) fn plural(self) -> &'static str {
        match self {
            Self::Connection => "connections",
            Self::Handshake => "connects",
            Self::RoundTrip => "operations",
            Self::Delivery => "deliveries",
        }
    }
}

/// Where server and client run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Placement {
    /// The server on one core, the client on another.
    Apart,
    /// Wherever the kernel puts them, with as many worker threads as said here.
    Free { workers: u32 },
}

/// One row of the table.
#[derive(Debug)]
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    pub(crate) peers: Peers,
    pub(crate) unit: Unit,
    pub(crate) placement: Placement,
    pub(crate) connections: u32,
    /// The scenario of the load program, and its options but the ones that depend on the run.
    load: &'static [&'static str],
    /// Options of this project's server.
    server: &'static [&'static str],
    /// Seconds of a run, where its length is chosen.
    seconds: Option<u32>,
}

const QUICK_SECONDS: u32 = 2;

impl Scenario {
    const fn new(name: &'static str, unit: Unit, connections: u32) -> Self {
        Self {
            name,
            title: "",
            peers: Peers::All,
            unit,
            placement: Placement::Apart,
            connections,
            load: &[],
            server: &[],
            seconds: None,
        }
    }

    const fn title(mut self, title: &'static str) -> Self {
        self.title = title;
        self
    }

    const fn load(mut self, load: &'static [&'static str]) -> Self {
        self.load = load;
        self
    }

    const fn server(mut self, server: &'static [&'static str]) -> Self {
        self.server = server;
        self
    }

    const fn seconds(mut self, seconds: u32) -> Self {
        self.seconds = Some(seconds);
        self
    }

    const fn peers(mut self, peers: Peers) -> Self {
        self.peers = peers;
        self
    }

    const fn free(mut self, workers: u32) -> Self {
        self.placement = Placement::Free { workers };
        self
    }

    /// Options of this project's server, which others do not know.
    pub(crate) fn server_options(&self) -> &'static [&'static str] {
        self.server
    }

    /// What the load program needs to find the server on this port.
    pub(crate) fn reach(&self, port: u16) -> Vec<String> {
        let is_tls = self.server.contains(&"--tls");
        let scheme = if is_tls { "https" } else { "http" };
        let mut words = vec!["--url".to_owned(), format!("{scheme}://127.0.0.1:{port}")];
        // The certificate is of the server's own making.
        words.extend(is_tls.then(|| "--insecure".to_owned()));
        words
    }

    /// The arguments of the load program that do not depend on the run.
    pub(crate) fn arguments(&self, length: Length) -> Vec<String> {
        let mut words: Vec<String> = self.load.iter().map(|word| (*word).to_owned()).collect();
        words.extend(["--connections".to_owned(), self.connections.to_string()]);
        if let Some(seconds) = self.seconds {
            let seconds = match length {
                Length::Full => seconds,
                Length::Quick => QUICK_SECONDS,
            };
            words.extend(["--duration".to_owned(), seconds.to_string()]);
        }
        words
    }
}

/// Every scenario, in the order of a round.
pub(crate) static SCENARIOS: [Scenario; 22] = [
    Scenario::new("idle-10k", Unit::Connection, 10_000)
        .title("10,000 connections that do nothing")
        .load(&["idle"]),
    Scenario::new("idle-18k", Unit::Connection, 18_000)
        .title("18,000 connections that do nothing")
        .load(&["idle"]),
    Scenario::new("idle-rooms", Unit::Connection, 10_000)
        .title("10,000 connections that do nothing, in two rooms each")
        .load(&["idle", "--rooms", "2"]),
    Scenario::new("connect", Unit::Handshake, 50)
        .title("connect, join the namespace, close, again and again, 50 at a time")
        .load(&["connect"])
        .seconds(4),
    Scenario::new("echo-1", Unit::RoundTrip, 100)
        .title("echo of 128 bytes, 100 connections, 1 in flight")
        .load(&["echo", "--in-flight", "1", "--size", "128"])
        .seconds(4),
    Scenario::new("echo-16", Unit::RoundTrip, 100)
        .title("echo of 128 bytes, 100 connections, 16 in flight")
        .load(&["echo", "--in-flight", "16", "--size", "128"])
        .seconds(4),
    Scenario::new("ack-16", Unit::RoundTrip, 100)
        .title("echo of 128 bytes with acknowledgement, 100 connections, 16 in flight")
        .load(&["ack", "--in-flight", "16", "--size", "128"])
        .seconds(4),
    Scenario::new("fanout-1k", Unit::Delivery, 1_000)
        .title("128 bytes to 1,000 recipients, 47 times a second")
        .load(&["fanout", "--rate", "47", "--size", "128"])
        .seconds(12),
    Scenario::new("fanout-5k", Unit::Delivery, 5_000)
        .title("128 bytes to 5,000 recipients, 11 times a second")
        .load(&["fanout", "--rate", "11", "--size", "128"])
        .seconds(12),
    Scenario::new("fanout-1k-tls", Unit::Delivery, 1_000)
        .title("as fanout-1k, over TLS that the server ends itself")
        .load(&["fanout", "--rate", "47", "--size", "128"])
        .server(&["--tls"])
        .seconds(4)
        .peers(Peers::Ours),
    Scenario::new("fanout-1k-deflate", Unit::Delivery, 1_000)
        .title("as fanout-1k, every message compressed")
        .load(&["fanout", "--rate", "47", "--size", "128", "--deflate"])
        .server(&["--deflate"])
        .seconds(4)
        .peers(Peers::Ours),
    Scenario::new("burst-100x1000", Unit::Delivery, 1_000)
        .title("100 messages of 128 bytes at once to 1,000 recipients")
        .load(&["burst", "--messages", "100", "--size", "128"]),
    Scenario::new("burst-300x200", Unit::Delivery, 200)
        .title("300 messages of 128 bytes at once to 200 recipients")
        .load(&["burst", "--messages", "300", "--size", "128"]),
    Scenario::new("burst-1000x50", Unit::Delivery, 50)
        .title("1,000 messages of 128 bytes at once to 50 recipients")
        .load(&["burst", "--messages", "1000", "--size", "128"]),
    Scenario::new("polling-1k", Unit::Delivery, 1_000)
        .title("128 bytes to 1,000 recipients that poll, 5 times a second")
        .load(&[
            "fanout",
            "--transport",
            "polling",
            "--rate",
            "5",
            "--size",
            "128",
        ])
        .seconds(4)
        .peers(Peers::OursAndNode),
    Scenario::new("jitter", Unit::Delivery, 5_000)
        .title("128 bytes to 5,000 recipients, 10 times a second, while all of them keep losing their connection for 2 s; the server recovers them")
        .load(&["jitter", "--rate", "10", "--size", "128"])
        .server(&["--recovery"])
        .seconds(20)
        .peers(Peers::Ours),
    Scenario::new("growth-100", Unit::Delivery, 100)
        .title("128 bytes to 100 recipients, 300 times a second")
        .load(&["fanout", "--rate", "300", "--size", "128"])
        .seconds(4)
        .peers(Peers::OursAndFloors),
    Scenario::new("growth-15000", Unit::Delivery, 15_000)
        .title("128 bytes to 15,000 recipients, twice a second")
        .load(&["fanout", "--rate", "2", "--size", "128"])
        .seconds(4)
        .peers(Peers::OursAndFloors),
    Scenario::new("workers-1", Unit::RoundTrip, 100)
        .title("echo as in echo-16, one worker thread, not pinned")
        .load(&["echo", "--in-flight", "16", "--size", "128"])
        .seconds(4)
        .peers(Peers::Ours)
        .free(1),
    Scenario::new("workers-2", Unit::RoundTrip, 100)
        .title("echo as in echo-16, two worker threads, not pinned")
        .load(&["echo", "--in-flight", "16", "--size", "128"])
        .seconds(4)
        .peers(Peers::Ours)
        .free(2),
    Scenario::new("workers-fanout-1", Unit::Delivery, 1_000)
        .title("fan-out as in fanout-1k, one worker thread, not pinned")
        .load(&["fanout", "--rate", "47", "--size", "128"])
        .seconds(4)
        .peers(Peers::Ours)
        .free(1),
    Scenario::new("workers-fanout-2", Unit::Delivery, 1_000)
        .title("fan-out as in fanout-1k, two worker threads, not pinned")
        .load(&["fanout", "--rate", "47", "--size", "128"])
        .seconds(4)
        .peers(Peers::Ours)
        .free(2),
];

/// The scenarios that `names` ask for, in the order of the table. A name's first word stands for all that begin with it.
pub(crate) fn chosen(names: &[String]) -> Result<Vec<&'static Scenario>, Failure> {
    let is_meant = |name: &String, scenario: &Scenario| {
        let rest = scenario.name.strip_prefix(name.as_str());
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
    };
    for name in names {
        if !SCENARIOS.iter().any(|scenario| is_meant(name, scenario)) {
            return Err(Failure::new(format!(
                "no scenario `{name}`; `cargo xtask bench --list` shows them"
            )));
        }
    }
    let meant = SCENARIOS
        .iter()
        .filter(|scenario| names.is_empty() || names.iter().any(|name| is_meant(name, scenario)));
    Ok(meant.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_words_stand_for_groups() {
        let check = |names: &[&str], expected: &[&str]| {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            let found: Vec<_> = chosen(&names).unwrap().iter().map(|s| s.name).collect();
            assert_eq!(found, expected, "{names:?}");
        };
        check(&["echo"], &["echo-1", "echo-16"]);
        check(&["echo-1"], &["echo-1"]);
        check(&["ack", "connect"], &["connect", "ack-16"]);
        assert_eq!(chosen(&[]).unwrap().len(), SCENARIOS.len());
        let failure = chosen(&["ech".to_owned()]).unwrap_err().to_string();
        assert!(failure.contains("`ech`"), "{failure}");
    }

    #[test]
    fn tls_is_asked_for_on_both_sides() {
        let check = |name: &str, expected: &str| {
            let chosen = chosen(&[name.to_owned()]).unwrap();
            assert_eq!(chosen.last().unwrap().reach(1).join(" "), expected);
        };
        check("echo-1", "--url http://127.0.0.1:1");
        check("fanout-1k-tls", "--url https://127.0.0.1:1 --insecure");
    }

    #[test]
    fn a_quick_run_shortens_what_has_a_length() {
        let echo = chosen(&["echo-1".to_owned()]).unwrap();
        let words = |length| echo.first().unwrap().arguments(length).join(" ");
        assert_eq!(
            words(Length::Full),
            "echo --in-flight 1 --size 128 --connections 100 --duration 4"
        );
        assert!(words(Length::Quick).ends_with("--duration 2"));
        let idle = chosen(&["idle-10k".to_owned()]).unwrap();
        let words = idle.first().unwrap().arguments(Length::Quick).join(" ");
        assert_eq!(words, "idle --connections 10000");
    }
}
