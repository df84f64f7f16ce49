//! What a run has found, as JSON with stable keys and as a table.

use std::fmt;

use hdrhistogram::Histogram;
use serde_json::{Map, Value, json};

use crate::{check::Faults, options::Options, process::Sample};

/// What a run has found.
///
/// # JSON
///
/// | key | meaning |
/// |---|---|
/// | `scenario`, `url`, `transport`, `connections`, `in_flight`, `size` | as asked for |
/// | `seconds` | measured time |
/// | `operations`, `operations_per_second` | within it: echoes, acknowledged echoes, deliveries, connects |
/// | `server.pid`, `server.threads` | with `--pid`, else `server` is `null` |
/// | `server.user_us`, `server.system_us` | CPU time, in steps of 10 ms |
/// | `server.cpu_us_per_operation` | exact; `user_us_per_operation` and `system_us_per_operation` are not |
/// | `server.anonymous_before`, `server.anonymous_after` | bytes, before the first connection and at the end |
/// | `server.anonymous_bytes_per_connection` | their difference for each connection |
/// | `server.voluntary_switches`, `server.involuntary_switches` | context switches within the measured time |
/// | `client.cpu_us_per_operation` | our own CPU time |
/// | `latency_us.p50`, `p99`, `p999`, `max` | from sending to arrival; `null` if the scenario has none |
/// | `faults.lost`, `doubled`, `out_of_order`, `unexpected`, `disconnected` | of the whole run, warm-up included |
///
/// Scenarios add keys of their own, which stand behind these.
#[derive(Debug)]
pub struct Report {
    /// What was asked for.
    pub options: Options,
    /// Measured time.
    pub seconds: f64,
    /// Operations within the measured time.
    pub operations: u64,
    /// Of the whole run.
    pub faults: Faults,
    /// Nanoseconds; empty if the scenario has no latency.
    pub latency_ns: Histogram<u64>,
    /// The server within the measured time.
    pub server: Option<Usage>,
    /// Our own process within the measured time.
    pub client: Usage,
    /// The server's anonymous memory before the first connection.
    pub anonymous_before: u64,
    /// Connections that the memory is divided by.
    pub memory_connections: usize,
    /// Keys of the scenario.
    pub extra: Map<String, Value>,
}

/// What a process used between two moments.
#[derive(Debug, Clone, Copy, Default)]
pub struct Usage {
    /// The difference.
    pub used: Sample,
}

impl Usage {
    pub(crate) fn between(before: &Sample, after: &Sample) -> Self {
        Self {
            used: after.since(before),
        }
    }
}

impl Report {
    /// The whole report as one JSON object.
    pub fn json(&self) -> Value {
        let options = &self.options;
        let mut report = json!({
            "scenario": options.scenario.name(),
            "url": options.url,
            "transport": "websocket",
            "connections": options.connections(),
            "in_flight": options.in_flight,
            "size": options.size,
            "seconds": round(self.seconds),
            "operations": self.operations,
            "operations_per_second": round(self.operations as f64 / self.seconds.max(1e-9)),
            "server": self.server.map(|usage| self.server_json(&usage.used)),
            "client": {"cpu_us_per_operation": self.per_operation(self.client.used.cpu_ns as f64 / 1e3)},
            "latency_us": self.latency_json(),
            "faults": {
                "lost": self.faults.lost,
                "doubled": self.faults.doubled,
                "out_of_order": self.faults.out_of_order,
                "unexpected": self.faults.unexpected,
                "disconnected": self.faults.disconnected,
            },
        });
        if let Value::Object(keys) = &mut report {
            keys.extend(self.extra.clone());
        }
        report
    }

    fn server_json(&self, used: &Sample) -> Value {
        let grown = used.anonymous_bytes.saturating_sub(self.anonymous_before);
        json!({
            "pid": self.options.pid,
            "user_us": used.user_us,
            "system_us": used.system_us,
            "cpu_us_per_operation": self.per_operation(used.cpu_ns as f64 / 1e3),
            "user_us_per_operation": self.per_operation(used.user_us as f64),
            "system_us_per_operation": self.per_operation(used.system_us as f64),
            "anonymous_before": self.anonymous_before,
            "anonymous_after": used.anonymous_bytes,
            "anonymous_bytes_per_connection": grown / self.memory_connections.max(1) as u64,
            "threads": used.threads,
            "voluntary_switches": used.voluntary_switches,
            "involuntary_switches": used.involuntary_switches,
        })
    }

    fn latency_json(&self) -> Value {
        if self.latency_ns.is_empty() {
            return Value::Null;
        }
        let us = |quantile| round(self.latency_ns.value_at_quantile(quantile) as f64 / 1e3);
        json!({
            "p50": us(0.5),
            "p99": us(0.99),
            "p999": us(0.999),
            "max": round(self.latency_ns.max() as f64 / 1e3),
        })
    }

    fn per_operation(&self, us: f64) -> Value {
        if self.operations == 0 {
            return Value::Null;
        }
        json!(round(us / self.operations as f64))
    }
}

/// The table: one line for each key of the JSON form.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let json = self.json();
        for (key, value) in json.as_object().into_iter().flatten() {
            match value {
                Value::Object(inner) => {
                    for (name, value) in inner {
                        row(f, &format!("{key}.{name}"), value)?;
                    }
                }
                Value::Null => {}
                _ => row(f, key, value)?,
            }
        }
        let verdict = if self.faults.any() {
            "FAULTS: see above"
        } else {
            "every message came exactly once and in order"
        };
        writeln!(f, "{verdict}")
    }
}

fn row(f: &mut fmt::Formatter<'_>, key: &str, value: &Value) -> fmt::Result {
    match value {
        Value::String(text) => writeln!(f, "{key:<38} {text}"),
        _ => writeln!(f, "{key:<38} {value}"),
    }
}

/// Three digits behind the point.
fn round(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}
