//! All runs together: medians, spreads and ratios.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::bench::{
    measurement::{Measurement, Metric},
    peer::PEERS,
    scenario::SCENARIOS,
};

/// One run, and what came of it.
#[derive(Debug)]
pub(crate) struct Run {
    /// When the measurement began that it belongs to.
    pub(crate) date: String,
    pub(crate) round: u32,
    pub(crate) scenario: &'static str,
    pub(crate) peer: &'static str,
    /// Of the machine, over the last minute, before the run.
    pub(crate) load_average: Option<f64>,
    pub(crate) outcome: Result<Measurement, String>,
}

impl Run {
    fn from_raw(raw: &Value) -> Option<Self> {
        let text = |key: &str| raw.get(key)?.as_str();
        let (scenario, peer) = (text("scenario")?, text("peer")?);
        Some(Self {
            date: text("date").unwrap_or_default().to_owned(),
            round: raw.get("round")?.as_u64()?.try_into().ok()?,
            scenario: SCENARIOS.iter().find(|known| known.name == scenario)?.name,
            peer: PEERS.iter().find(|known| known.name == peer)?.name,
            load_average: raw.get("load_average").and_then(Value::as_f64),
            outcome: match text("failure") {
                Some(failure) => Err(failure.to_owned()),
                None => Ok(Measurement::parse(&raw.get("result")?.to_string()).ok()?),
            },
        })
    }
}

/// Every run, in its order.
#[derive(Debug, Default)]
pub(crate) struct Results {
    pub(crate) runs: Vec<Run>,
}

/// One figure over all rounds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Summary {
    pub(crate) median: f64,
    pub(crate) least: f64,
    pub(crate) most: f64,
}

impl Summary {
    /// Nothing comes of nothing.
    pub(crate) fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        let (least, most) = (*values.first()?, *values.last()?);
        let middle = values.len() / 2;
        let upper = *values.get(middle)?;
        let median = if values.len().is_multiple_of(2) {
            f64::midpoint(*values.get(middle - 1)?, upper)
        } else {
            upper
        };
        Some(Self {
            median,
            least,
            most,
        })
    }

    /// Most less least, as a part of the median in percent.
    pub(crate) fn spread_percent(self) -> Option<f64> {
        (self.median > 0.0).then(|| (self.most - self.least) / self.median * 100.0)
    }
}

impl Results {
    /// A figure of one peer in one scenario, over all rounds that have it.
    pub(crate) fn summary(&self, scenario: &str, peer: &str, metric: Metric) -> Option<Summary> {
        Summary::of(
            self.of(scenario, peer)
                .filter_map(|run| run.outcome.as_ref().ok()?.metric(metric))
                .collect(),
        )
    }

    /// The median of a figure.
    pub(crate) fn median(&self, scenario: &str, peer: &str, metric: Metric) -> Option<f64> {
        Some(self.summary(scenario, peer, metric)?.median)
    }

    /// The median of `peer` over that of `base`.
    pub(crate) fn ratio(
        &self,
        scenario: &str,
        peer: &str,
        base: &str,
        metric: Metric,
    ) -> Option<f64> {
        let base = self.median(scenario, base, metric)?;
        (base > 0.0).then_some(self.median(scenario, peer, metric)? / base)
    }

    /// The sum of each kind of fault over all rounds.
    pub(crate) fn faults(&self, scenario: &str, peer: &str) -> BTreeMap<String, u64> {
        let mut faults = BTreeMap::new();
        for run in self.of(scenario, peer) {
            for (name, count) in run.outcome.iter().flat_map(Measurement::faults) {
                *faults.entry(name.to_owned()).or_default() += count;
            }
            if run.outcome.is_err() {
                *faults.entry("failed runs".to_owned()).or_default() += 1;
            }
        }
        faults
    }

    /// True when the peer was run in the scenario, whatever came of it.
    pub(crate) fn has(&self, scenario: &str, peer: &str) -> bool {
        self.of(scenario, peer).next().is_some()
    }

    /// How many runs came to nothing.
    pub(crate) fn failed(&self) -> usize {
        self.runs.iter().filter(|run| run.outcome.is_err()).count()
    }

    /// The load averages before the runs of a peer in a scenario, or of all runs.
    pub(crate) fn load_average(&self, of: Option<(&str, &str)>) -> Option<Summary> {
        let runs = self
            .runs
            .iter()
            .filter(|run| of.is_none_or(|of| of == (run.scenario, run.peer)));
        Summary::of(runs.filter_map(|run| run.load_average).collect())
    }

    /// How many rounds there were.
    pub(crate) fn rounds(&self) -> u32 {
        self.runs.iter().map(|run| run.round).max().unwrap_or(0)
    }

    /// When a scenario was measured.
    pub(crate) fn date(&self, scenario: &str) -> Option<&str> {
        let mut runs = self.runs.iter();
        Some(&runs.find(|run| run.scenario == scenario)?.date)
    }

    /// What `raw` wrote. Runs of scenarios and peers that are no more are left out.
    pub(crate) fn from_raw(runs: &[Value]) -> Self {
        Self {
            runs: runs.iter().filter_map(Run::from_raw).collect(),
        }
    }

    /// Every run with all that the load program said of it.
    pub(crate) fn raw(&self) -> Vec<Value> {
        let raw = |run: &Run| {
            json!({
                "date": run.date,
                "round": run.round,
                "scenario": run.scenario,
                "peer": run.peer,
                "load_average": run.load_average,
                "result": run.outcome.as_ref().ok().map(Measurement::raw),
                "failure": run.outcome.as_ref().err(),
            })
        };
        self.runs.iter().map(raw).collect()
    }

    fn of(&self, scenario: &str, peer: &str) -> impl Iterator<Item = &Run> {
        self.runs
            .iter()
            .filter(move |run| run.scenario == scenario && run.peer == peer)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A run in which the load program said `report`.
    pub(crate) fn run(scenario: &'static str, peer: &'static str, report: Value) -> Run {
        let mut report = report;
        report["operations"] = json!(1);
        Run {
            date: "today".to_owned(),
            round: 1,
            scenario,
            peer,
            load_average: Some(1.5),
            outcome: Ok(Measurement::parse(&report.to_string()).unwrap()),
        }
    }

    /// The report of a run that took `microseconds` of the server's CPU time for an operation.
    pub(crate) fn cpu(microseconds: f64) -> Value {
        json!({"server": {"cpu_us_per_operation": microseconds}})
    }

    #[test]
    fn medians_and_spreads() {
        let check = |values: &[f64], expected: Option<(f64, f64, f64)>| {
            let expected = expected.map(|(median, least, most)| Summary {
                median,
                least,
                most,
            });
            assert_eq!(Summary::of(values.to_vec()), expected, "{values:?}");
        };
        check(&[], None);
        check(&[4.0], Some((4.0, 4.0, 4.0)));
        check(&[9.0, 1.0, 4.0], Some((4.0, 1.0, 9.0)));
        check(&[4.0, 1.0], Some((2.5, 1.0, 4.0)));
        let spread = Summary::of(vec![4.0, 3.0, 5.0]).unwrap().spread_percent();
        assert_eq!(spread, Some(50.0));
        assert_eq!(Summary::of(vec![0.0]).unwrap().spread_percent(), None);
    }

    #[test]
    fn ratios_are_those_of_medians() {
        let mut results = Results::default();
        for (ours, floor) in [(10.0, 4.0), (30.0, 5.0), (20.0, 50.0)] {
            results.runs.push(run("echo-1", "kentongan", cpu(ours)));
            results.runs.push(run("echo-1", "floor", cpu(floor)));
        }
        let ratio = |peer, base| results.ratio("echo-1", peer, base, Metric::Cpu);
        assert_eq!(ratio("kentongan", "floor"), Some(4.0));
        assert_eq!(ratio("kentongan", "node"), None);
        assert_eq!(ratio("node", "floor"), None);
    }

    #[test]
    fn faults_are_added_up_and_failures_count_as_such() {
        let mut results = Results::default();
        for lost in [0, 3, 4] {
            let report = json!({"faults": {"lost": lost, "doubled": 0}});
            results.runs.push(run("echo-1", "node", report));
        }
        let mut failed = run("echo-1", "node", json!({}));
        failed.outcome = Err("it ended".to_owned());
        results.runs.push(failed);
        let faults: Vec<_> = results.faults("echo-1", "node").into_iter().collect();
        assert_eq!(
            faults,
            [("failed runs".to_owned(), 1), ("lost".to_owned(), 7)]
        );
        assert!(results.faults("echo-1", "floor").is_empty());
        assert_eq!(results.failed(), 1);
    }

    #[test]
    fn what_was_written_is_read_again() {
        let mut results = Results::default();
        results.runs.push(run("echo-1", "node", cpu(7.5)));
        let mut failed = run("echo-1", "floor", json!({}));
        failed.outcome = Err("it ended".to_owned());
        results.runs.push(failed);
        let mut raw = results.raw();
        let again = Results::from_raw(&raw);
        assert_eq!(again.raw(), raw);
        assert_eq!(again.date("echo-1"), Some("today"));
        raw[0]["peer"] = json!("gone");
        assert_eq!(Results::from_raw(&raw).runs.len(), 1);
    }
}
