//! What the load program says about one run.

use serde_json::Value;

use crate::{
    bench::{
        figure::figure,
        scenario::{Scenario, Unit},
    },
    failure::Failure,
};

/// A figure of a run. All are medians of nothing yet: one run has one of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Metric {
    OperationsPerSecond,
    /// The server's CPU time for one operation, in microseconds.
    Cpu,
    /// The part of it outside of the kernel.
    UserCpu,
    SystemCpu,
    /// The client's CPU time for one operation, in microseconds.
    ClientCpu,
    /// Anonymous memory of the server for each connection, in bytes.
    Memory,
    /// Microseconds.
    LatencyP50,
    LatencyP99,
    LatencyP999,
    LatencyMax,
    /// Messages that should have come.
    Expected,
    /// Those of them that did.
    Delivered,
    /// Microseconds from a return to the last missed message.
    ReplayP99,
}

impl Metric {
    fn pointer(self) -> &'static str {
        match self {
            Self::OperationsPerSecond => "/operations_per_second",
            Self::Cpu => "/server/cpu_us_per_operation",
            Self::UserCpu => "/server/user_us_per_operation",
            Self::SystemCpu => "/server/system_us_per_operation",
            Self::ClientCpu => "/client/cpu_us_per_operation",
            Self::Memory => "/server/anonymous_bytes_per_connection",
            Self::LatencyP50 => "/latency_us/p50",
            Self::LatencyP99 => "/latency_us/p99",
            Self::LatencyP999 => "/latency_us/p999",
            Self::LatencyMax => "/latency_us/max",
            Self::Expected => "/expected",
            Self::Delivered => "/delivered",
            Self::ReplayP99 => "/replay_us/p99",
        }
    }
}

/// The report of one run.
#[derive(Clone, Debug)]
pub(crate) struct Measurement(Value);

impl Measurement {
    /// Reads the file that the load program writes.
    pub(crate) fn parse(text: &str) -> Result<Self, Failure> {
        let value: Value = serde_json::from_str(text)
            .map_err(|error| Failure::new(format!("the result cannot be read: {error}")))?;
        if value.get("operations").and_then(Value::as_u64).is_none() {
            return Err(Failure::new(
                "the result does not say how many operations there were",
            ));
        }
        Ok(Self(value))
    }

    /// The figure, if this scenario has it.
    pub(crate) fn metric(&self, metric: Metric) -> Option<f64> {
        self.0.pointer(metric.pointer())?.as_f64()
    }

    /// Faults that there were: their names and how many of each.
    pub(crate) fn faults(&self) -> Vec<(&str, u64)> {
        let faults = self.0.get("faults").and_then(Value::as_object);
        faults
            .into_iter()
            .flatten()
            .filter_map(|(name, count)| Some((name.as_str(), count.as_u64()?)))
            .filter(|(_, count)| *count > 0)
            .collect()
    }

    /// For the line at the end of a run.
    pub(crate) fn in_short(&self, scenario: &Scenario) -> String {
        let shown = |metric| self.metric(metric).map_or_else(|| "–".to_owned(), figure);
        let mut text = match scenario.unit {
            Unit::Connection => format!("{} B per connection", shown(Metric::Memory)),
            unit => format!(
                "{} µs CPU per {}, {} per second",
                shown(Metric::Cpu),
                unit.word(),
                shown(Metric::OperationsPerSecond)
            ),
        };
        for (name, count) in self.faults() {
            text.push_str(&format!(", {count} {name}"));
        }
        text
    }

    /// All that the load program said.
    pub(crate) fn raw(&self) -> &Value {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_and_faults_are_read() {
        let text = r#"{"operations":10,"operations_per_second":5.0,
            "server":{"cpu_us_per_operation":7.5,"anonymous_bytes_per_connection":null},
            "latency_us":{"p99":12},"faults":{"lost":0,"doubled":1}}"#;
        let measurement = Measurement::parse(text).unwrap();
        let check = |metric, expected| assert_eq!(measurement.metric(metric), expected);
        check(Metric::OperationsPerSecond, Some(5.0));
        check(Metric::Cpu, Some(7.5));
        check(Metric::LatencyP99, Some(12.0));
        check(Metric::Memory, None);
        check(Metric::UserCpu, None);
        assert_eq!(measurement.faults(), [("doubled", 1)]);
    }

    #[test]
    fn what_is_no_result_is_refused() {
        assert!(Measurement::parse("{\"operations\":").is_err());
        assert!(Measurement::parse("{}").is_err());
    }
}
