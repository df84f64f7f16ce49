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
/// Scenarios add keys of their own:
///
/// | scenario | keys |
/// |---|---|
/// | idle | `rooms` |
/// | fanout | `rate`, `messages_sent` |
/// | burst | `messages`, `wall_ms` of each round, `wall_ms_median`, `cpu_us_per_delivery_median` |
/// | jitter | `messages_sent`, `expected` and `delivered` messages; `recovered` and `not_recovered` returns, `returns_failed`; `missing_recovered` and `missing_not_recovered` messages; `replay_us`: from the return to the last missed message |
/// | avalanche | `back` clients, `attempts`, `down_seconds`, `back_us`: from the kill to the namespace |
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
            "transport": options.transport.name(),
            "connections": options.connections(),
            "in_flight": options.in_flight,
            "size": options.size,
            "seconds": round(self.seconds),
            "operations": self.operations,
            "operations_per_second": round(self.operations as f64 / self.seconds.max(1e-9)),
            "server": self.server.map(|usage| self.server_json(&usage.used)),
            "client": {"cpu_us_per_operation": self.per_operation(self.client.used.cpu_ns as f64 / 1e3)},
            "latency_us": latency_json(&self.latency_ns),
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

    fn per_operation(&self, us: f64) -> Value {
        if self.operations == 0 {
            return Value::Null;
        }
        json!(round(us / self.operations as f64))
    }
}

/// The table: one line for each key of the JSON form, in the order of its description.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let json = self.json();
        let own = self.extra.keys().map(String::as_str);
        let groups = KEYS.iter().map(|(key, inner)| (*key, *inner));
        for (key, inner) in groups.chain(own.map(|key| (key, QUANTILES))) {
            match &json[key] {
                Value::Object(values) => {
                    for name in inner {
                        let value = values.get(*name).unwrap_or(&Value::Null);
                        row(f, &format!("{key}.{name}"), value)?;
                    }
                }
                value => row(f, key, value)?,
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

/// Quantiles in microseconds; `null` if nothing was recorded.
pub(crate) fn latency_json(latency_ns: &Histogram<u64>) -> Value {
    if latency_ns.is_empty() {
        return Value::Null;
    }
    let us = |quantile| round(latency_ns.value_at_quantile(quantile) as f64 / 1e3);
    json!({
        "p50": us(0.5),
        "p99": us(0.99),
        "p999": us(0.999),
        "max": round(latency_ns.max() as f64 / 1e3),
    })
}

fn row(f: &mut fmt::Formatter<'_>, key: &str, value: &Value) -> fmt::Result {
    match value {
        Value::Null => Ok(()),
        Value::String(text) => writeln!(f, "{key:<38} {text}"),
        _ => writeln!(f, "{key:<38} {value}"),
    }
}

/// Three digits behind the point.
fn round(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}

/// The common keys in the order of the table, with the keys inside them.
const KEYS: [(&str, &[&str]); 13] = [
    ("scenario", &[]),
    ("url", &[]),
    ("transport", &[]),
    ("connections", &[]),
    ("in_flight", &[]),
    ("size", &[]),
    ("seconds", &[]),
    ("operations", &[]),
    ("operations_per_second", &[]),
    (
        "server",
        &[
            "pid",
            "threads",
            "cpu_us_per_operation",
            "user_us_per_operation",
            "system_us_per_operation",
            "user_us",
            "system_us",
            "voluntary_switches",
            "involuntary_switches",
            "anonymous_before",
            "anonymous_after",
            "anonymous_bytes_per_connection",
        ],
    ),
    ("client", &["cpu_us_per_operation"]),
    ("latency_us", QUANTILES),
    (
        "faults",
        &[
            "lost",
            "doubled",
            "out_of_order",
            "unexpected",
            "disconnected",
        ],
    ),
];
const QUANTILES: &[&str] = &["p50", "p99", "p999", "max"];

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    fn report() -> Report {
        let options = Options::parse_from(["kentongan-load", "echo", "--pid", "7"]);
        let mut latency_ns = crate::tally::Tally::default().latency_ns;
        latency_ns.record(1_500_000).unwrap();
        let used = Sample {
            cpu_ns: 3_000,
            anonymous_bytes: 150_000,
            ..Sample::default()
        };
        Report {
            options,
            seconds: 0.5,
            operations: 2,
            faults: Faults::default(),
            latency_ns,
            server: Some(Usage { used }),
            client: Usage { used },
            anonymous_before: 50_000,
            memory_connections: 100,
            extra: Map::from_iter([("own".to_owned(), json!(1))]),
        }
    }

    #[test]
    fn keys_and_arithmetic() {
        let json = report().json();
        assert_eq!(json["operations_per_second"], 4.0);
        assert_eq!(json["server"]["cpu_us_per_operation"], 1.5);
        assert_eq!(json["server"]["anonymous_bytes_per_connection"], 1000);
        assert_eq!(json["client"]["cpu_us_per_operation"], 1.5);
        assert!((json["latency_us"]["max"].as_f64().unwrap() - 1500.0).abs() < 2.0);
        assert_eq!(json["faults"]["lost"], 0);
        assert_eq!(json["own"], 1);
    }

    /// A key that is in the JSON form alone would be forgotten in the table.
    #[test]
    fn the_table_has_every_key() {
        let table = report().to_string();
        for (key, value) in report().json().as_object().unwrap() {
            match value {
                Value::Object(inner) => {
                    for name in inner.keys() {
                        assert!(table.contains(&format!("{key}.{name} ")), "{key}.{name}");
                    }
                }
                _ => assert!(table.contains(key), "{key}"),
            }
        }
        assert!(table.ends_with("every message came exactly once and in order\n"));
    }

    #[test]
    fn nothing_measured_is_null() {
        let mut report = report();
        report.operations = 0;
        report.latency_ns.clear();
        report.server = None;
        let json = report.json();
        assert_eq!(json["client"]["cpu_us_per_operation"], Value::Null);
        assert_eq!(json["latency_us"], Value::Null);
        assert_eq!(json["server"], Value::Null);
    }
}
