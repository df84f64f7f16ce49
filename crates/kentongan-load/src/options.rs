//! The command line.

use std::{path::PathBuf, time::Duration};

use clap::{Parser, ValueEnum};

use crate::{error::LoadError, payload};

/// Puts load on a Socket.IO server and checks every delivery
#[derive(Debug, Clone, Parser)]
#[command(name = "kentongan-load", version, after_help = AFTER_HELP)]
pub struct Options {
    /// What to do
    #[arg(value_enum)]
    pub scenario: Scenario,
    /// The server: scheme, host and port
    #[arg(long, default_value = "http://127.0.0.1:3000")]
    pub url: String,
    /// Path of the Engine.IO endpoint
    #[arg(long, default_value = "/socket.io/")]
    pub path: String,
    /// Namespace that every connection joins
    #[arg(long, default_value = "/")]
    pub namespace: String,
    /// Connections that are open at a time [default: 1000; connect 50, echo and ack 100]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub connections: Option<u32>,
    /// echo, ack: messages of each connection that wait for their reply
    #[arg(long, value_name = "K", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub in_flight: u32,
    /// How long to measure [default: 10; jitter and avalanche 60]
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub duration: Option<Duration>,
    /// How long the load runs before that; idle: how long to settle (at least 3)
    #[arg(long, value_name = "SECONDS", default_value = "2", value_parser = seconds)]
    pub warm_up: Duration,
    /// fanout, jitter: messages per second [default: fanout 50, jitter 10]
    #[arg(long, value_name = "PER_S", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub rate: Option<u32>,
    /// Bytes of every payload, at least 40
    #[arg(long, value_name = "BYTES", default_value_t = 128)]
    pub size: usize,
    /// burst: messages that one request asks for
    #[arg(long, value_name = "M", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    pub messages: u32,
    /// Threads of this program; more than one only if there are cores to spare
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub workers: u16,
    /// The server's process on this machine: also report its CPU time and memory
    #[arg(long)]
    pub pid: Option<u32>,
    /// idle: rooms that each connection joins; connections share them in groups of 100
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub rooms: u32,
    /// jitter: how long a connection lives on average (half to one and a half times as long)
    #[arg(long, value_name = "SECONDS", default_value = "15", value_parser = seconds)]
    pub cut_after: Duration,
    /// jitter: how long a client stays away on average
    #[arg(long, value_name = "SECONDS", default_value = "2", value_parser = seconds)]
    pub away: Duration,
    /// avalanche: the command that starts the server, which is killed and started again
    #[arg(long)]
    pub command: Option<String>,
    /// jitter, avalanche: chance comes from this number
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// How packets travel
    #[arg(long, value_enum, default_value_t = Transport::Websocket)]
    pub transport: Transport,
    /// Offer permessage-deflate; a server that does not take it is refused
    #[arg(long)]
    pub deflate: bool,
    /// https: take any certificate
    #[arg(long)]
    pub insecure: bool,
    /// Write the report as JSON to this file; `-`: to the standard output, instead of the table
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Scenario {
    /// Open connections that do nothing: the server's memory for each
    Idle,
    /// Connect, join the namespace, close, again and again: CPU time per connect
    Connect,
    /// Every connection sends messages and gets each back as an event
    Echo,
    /// The same, and each is acknowledged too
    Ack,
    /// One publisher, all others subscribe: deliveries and their latency
    Fanout,
    /// One request makes the server send many messages to all at once
    Burst,
    /// Connections are cut and come back with connection state recovery while a publisher sends
    Jitter,
    /// The server is killed and started again (--command): who comes back, and when
    Avalanche,
}

/// How packets travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Transport {
    /// WebSocket from the first byte
    Websocket,
    /// HTTP long-polling: a GET that waits, and POSTs
    Polling,
}

impl Transport {
    /// As on the command line and in Engine.IO.
    pub fn name(self) -> &'static str {
        match self {
            Self::Websocket => "websocket",
            Self::Polling => "polling",
        }
    }
}

impl Scenario {
    /// As on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Connect => "connect",
            Self::Echo => "echo",
            Self::Ack => "ack",
            Self::Fanout => "fanout",
            Self::Burst => "burst",
            Self::Jitter => "jitter",
            Self::Avalanche => "avalanche",
        }
    }
}

impl Options {
    /// Connections that are open at a time, for this scenario.
    pub fn connections(&self) -> usize {
        let preset = match self.scenario {
            Scenario::Connect => 50,
            Scenario::Echo | Scenario::Ack => 100,
            _ => 1000,
        };
        self.connections.unwrap_or(preset) as usize
    }

    /// How long to measure, for this scenario.
    pub fn duration(&self) -> Duration {
        let preset = match self.scenario {
            Scenario::Jitter | Scenario::Avalanche => 60,
            _ => 10,
        };
        self.duration.unwrap_or(Duration::from_secs(preset))
    }

    /// Messages per second, for this scenario.
    pub fn rate(&self) -> u32 {
        let preset = match self.scenario {
            Scenario::Jitter => 10,
            _ => 50,
        };
        self.rate.unwrap_or(preset)
    }

    /// TCP connections that are open at a time.
    pub(crate) fn sockets(&self) -> usize {
        match self.transport {
            Transport::Websocket => self.connections(),
            Transport::Polling => self.connections() * 2,
        }
    }

    /// What clap cannot see.
    ///
    /// # Errors
    /// [`LoadError::Usage`].
    pub fn check(&self) -> Result<(), LoadError> {
        let usage = |text: String| Err(LoadError::Usage(text));
        if self.size < payload::SIZE_MIN || self.size > SIZE_MAX {
            return usage(format!("--size is {} to {SIZE_MAX}", payload::SIZE_MIN));
        }
        if self.deflate && self.transport == Transport::Polling {
            return usage("--deflate is for WebSocket".into());
        }
        if !self.namespace.starts_with('/') || self.namespace.contains([',', '"', '?']) {
            return usage(
                "--namespace begins with / and holds no comma, quote or question mark".into(),
            );
        }
        if !self.path.starts_with('/') || self.path.contains(['?', ' ']) {
            return usage("--path begins with / and holds no ? and no blank".into());
        }
        Ok(())
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number of seconds")?;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}

/// Stock servers take messages of up to 1 MB.
const SIZE_MAX: usize = 900_000;

const AFTER_HELP: &str = "\
The server needs these handlers (kentongan's are in its example `lab`):
  join(room)              joins the room and acknowledges
  echo(payload)           emits echo(payload) to the sender; acknowledges with the payload if asked
  bcast(room, payload)    emits msg(payload) to all in the room, the sender included
  bcastn(room, payload, n)   does so n times

Examples:
  cargo run --release -p kentongan --example lab -- 3000
  kentongan-load echo --connections 100 --in-flight 16
  kentongan-load fanout --connections 1000 --rate 50 --pid $(pidof lab)
  kentongan-load jitter --connections 1000                   (the server: lab 3000 --recovery)
  kentongan-load avalanche --connections 1000 --command 'target/release/examples/lab 3000'
  kentongan-load idle --connections 10000 --pid $(pidof lab) --json idle.json

CPU time per operation is what compares servers: rates and latencies depend on what else the machine does. Give server and
client a core each (taskset -c 1 SERVER; taskset -c 0 kentongan-load ...), and compare only figures of the same machine.
With --pid, cpu_us_per_operation comes from /proc/PID/task/*/schedstat (exact), the split into user and system time from
/proc/PID/stat (in steps of 10 ms). Both cover the measured time only.

Exit code: 0 if every message came exactly once and in order and nothing was disconnected, 1 if not or if there is no
usable server, 2 for a wrong command line.";
