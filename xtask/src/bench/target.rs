//! What is asked of this project's server, and whether a run shows it.
//!
//! Most targets are ratios to a floor of the same run: a busy or slow machine slows both. Where tokio's own floor misses
//! what must be, nothing on tokio can reach it; then what must be is that floor and a tenth.

use crate::bench::{
    figure::figure,
    measurement::Metric,
    peer::{FLOOR, FLOOR_TOKIO, KENTONGAN, NODE, PEERS},
    results::Results,
};

/// One row of the table.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) what: &'static str,
    measure: Measure,
    must: f64,
    aim: f64,
}

/// How a target is measured.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Measure {
    /// Anonymous bytes for each connection.
    Memory(&'static str),
    /// CPU time for an operation over that of the floor.
    OverFloor(&'static str),
    /// CPU time outside of the kernel, in microseconds for an operation.
    UserCpu(&'static str),
    /// p99 of the latency over the best of the other servers.
    Tail(&'static str),
    /// CPU time for an operation over that of Node.
    OverNode(&'static str),
    /// CPU time for an operation over this project's own in another scenario.
    OverOwn {
        scenario: &'static str,
        other: &'static str,
    },
    /// Messages that came, of a hundred that should. More is better.
    Delivered(&'static str),
    /// p99 of the time from a return to the last missed message, in seconds.
    Replay(&'static str),
    /// CPU time for a delivery at many recipients over that at few.
    Growth {
        few: &'static str,
        many: &'static str,
    },
    /// Throughput with two workers over that with one. More is better.
    Workers {
        one: &'static str,
        two: &'static str,
    },
    /// What two workers could do over one if each had a core of its own: from the CPU time of an operation. More is better.
    Capacity {
        one: &'static str,
        two: &'static str,
    },
}

/// How a target came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// As good as it is meant to become.
    Aim,
    /// As good as it must be.
    Must,
    Missed,
    /// The run does not have the figures.
    NotMeasured,
    /// The figures are there, and the machine is too small for them to mean something.
    NotJudged,
}

impl Verdict {
    /// For the table.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Aim => "met, aim too",
            Self::Must => "met",
            Self::Missed => "**missed**",
            Self::NotMeasured => "not measured",
            Self::NotJudged => "not judged",
        }
    }
}

/// A target with what the run says of it.
#[derive(Debug, PartialEq)]
pub(crate) struct Judgement {
    pub(crate) must: String,
    pub(crate) aim: String,
    pub(crate) measured: String,
    pub(crate) verdict: Verdict,
    /// What a reader has to know besides; may be empty.
    pub(crate) note: String,
}

/// With fewer cores two workers and the client are in each other's way.
const CORES_FOR_WORKERS: usize = 4;
const MICROSECONDS: f64 = 1e6;
/// What is allowed over tokio's floor where that misses what must be.
const OVER_FLOOR_TOKIO: f64 = 1.1;

const fn target(what: &'static str, measure: Measure, must: f64, aim: f64) -> Target {
    Target {
        what,
        measure,
        must,
        aim,
    }
}

/// Every target, in the order of the table.
pub(crate) const TARGETS: [Target; 25] = [
    target(
        "memory of an idle connection (10,000)",
        Measure::Memory("idle-10k"),
        2_500.0,
        1_500.0,
    ),
    target(
        "memory of an idle connection (18,000)",
        Measure::Memory("idle-18k"),
        2_500.0,
        1_500.0,
    ),
    target(
        "memory of one in two rooms",
        Measure::Memory("idle-rooms"),
        3_500.0,
        2_200.0,
    ),
    target("connect, CPU", Measure::OverFloor("connect"), 2.5, 1.7),
    target(
        "echo, 1 in flight, CPU",
        Measure::OverFloor("echo-1"),
        1.2,
        1.05,
    ),
    target(
        "echo, 16 in flight, CPU",
        Measure::OverFloor("echo-16"),
        2.5,
        1.5,
    ),
    target(
        "ack, 16 in flight, CPU",
        Measure::OverFloor("ack-16"),
        3.0,
        1.8,
    ),
    target(
        "fan-out to 1,000, CPU",
        Measure::OverFloor("fanout-1k"),
        1.15,
        1.02,
    ),
    target(
        "fan-out to 1,000, user CPU",
        Measure::UserCpu("fanout-1k"),
        0.6,
        0.35,
    ),
    target(
        "fan-out to 1,000, p99",
        Measure::Tail("fanout-1k"),
        1.0,
        1.0,
    ),
    target(
        "fan-out to 5,000, CPU",
        Measure::OverFloor("fanout-5k"),
        1.15,
        1.02,
    ),
    target(
        "fan-out to 5,000, user CPU",
        Measure::UserCpu("fanout-5k"),
        0.6,
        0.35,
    ),
    target(
        "fan-out to 5,000, p99",
        Measure::Tail("fanout-5k"),
        1.0,
        1.0,
    ),
    target(
        "fan-out to 1,000 over TLS, CPU",
        Measure::OverOwn {
            scenario: "fanout-1k-tls",
            other: "fanout-1k",
        },
        1.5,
        1.25,
    ),
    target(
        "fan-out to 1,000, compressed, CPU",
        Measure::OverOwn {
            scenario: "fanout-1k-deflate",
            other: "fanout-1k",
        },
        1.15,
        1.05,
    ),
    target(
        "burst of 100 to 1,000, CPU",
        Measure::OverFloor("burst-100x1000"),
        2.0,
        1.3,
    ),
    target(
        "burst of 300 to 200, CPU",
        Measure::OverFloor("burst-300x200"),
        2.0,
        1.3,
    ),
    target(
        "burst of 1,000 to 50, CPU",
        Measure::OverFloor("burst-1000x50"),
        2.0,
        1.3,
    ),
    target(
        "fan-out to 1,000 that poll, CPU",
        Measure::OverNode("polling-1k"),
        0.5,
        0.25,
    ),
    target(
        "5,000 that lose their connections: delivered",
        Measure::Delivered("jitter"),
        100.0,
        100.0,
    ),
    target(
        "5,000 that lose their connections: replay, p99",
        Measure::Replay("jitter"),
        3.0,
        1.0,
    ),
    target(
        "growth: CPU of a delivery at 15,000 over 100",
        Measure::Growth {
            few: "growth-100",
            many: "growth-15000",
        },
        1.2,
        1.1,
    ),
    target(
        "two worker threads over one",
        Measure::Workers {
            one: "workers-1",
            two: "workers-2",
        },
        1.7,
        1.9,
    ),
    target(
        "the same from CPU time: echo",
        Measure::Capacity {
            one: "workers-1",
            two: "workers-2",
        },
        1.7,
        1.9,
    ),
    target(
        "the same from CPU time: fan-out to 1,000",
        Measure::Capacity {
            one: "workers-fanout-1",
            two: "workers-fanout-2",
        },
        1.7,
        1.9,
    ),
];

impl Target {
    /// What the run says. `cores` is how many the machine has.
    pub(crate) fn judge(&self, results: &Results, cores: usize) -> Judgement {
        let limit = |value| self.measure.shown_limit(value);
        let mut judgement = Judgement {
            must: limit(self.must),
            aim: limit(self.aim),
            measured: "–".to_owned(),
            verdict: Verdict::NotMeasured,
            note: String::new(),
        };
        let mut must = self.must;
        if let Some(floor) = self
            .measure
            .of(results, FLOOR_TOKIO)
            .filter(|floor| *floor > must)
        {
            must = floor * OVER_FLOOR_TOKIO;
            judgement.must = limit(must);
            judgement.note = format!(
                "{FLOOR_TOKIO} itself is at {}, so what must be is {OVER_FLOOR_TOKIO} × {FLOOR_TOKIO} instead of {}",
                self.measure.shown(floor),
                limit(self.must)
            );
        }
        if let Some(measured) = self.measure.of(results, KENTONGAN) {
            judgement.measured = self.measure.shown(measured);
            judgement.verdict = self.measure.verdict(measured, must, self.aim);
        }
        self.measure.add_context(results, cores, &mut judgement);
        judgement
    }
}

impl Measure {
    /// The figure of `peer`; nothing where the measure compares this project's server with itself or with one peer.
    fn of(self, results: &Results, peer: &str) -> Option<f64> {
        let is_ours = peer == KENTONGAN;
        match self {
            Self::Memory(scenario) => results.median(scenario, peer, Metric::Memory),
            Self::OverFloor(scenario) => results.ratio(scenario, peer, FLOOR, Metric::Cpu),
            Self::UserCpu(scenario) => results.median(scenario, peer, Metric::UserCpu),
            Self::Growth { few, many } => growth(results, peer, few, many),
            _ if !is_ours => None,
            Self::Tail(scenario) => {
                let ours = results.median(scenario, peer, Metric::LatencyP99)?;
                Some(ours / best_tail(results, scenario)?)
            }
            Self::OverOwn { scenario, other } => growth(results, peer, other, scenario),
            Self::Delivered(scenario) => {
                let delivered = results.median(scenario, peer, Metric::Delivered)?;
                Some(100.0 * delivered / results.median(scenario, peer, Metric::Expected)?)
            }
            Self::Replay(scenario) => {
                Some(results.median(scenario, peer, Metric::ReplayP99)? / MICROSECONDS)
            }
            Self::OverNode(scenario) => results.ratio(scenario, peer, NODE, Metric::Cpu),
            Self::Workers { one, two } => {
                let rate = |scenario| results.median(scenario, peer, Metric::OperationsPerSecond);
                Some(rate(two)? / rate(one)?)
            }
            Self::Capacity { one, two } => Some(2.0 * growth(results, peer, two, one)?),
        }
    }

    fn verdict(self, measured: f64, must: f64, aim: f64) -> Verdict {
        let is_met = |limit| match self {
            Self::Workers { .. } | Self::Capacity { .. } | Self::Delivered(_) => measured >= limit,
            // Below, not as good as.
            Self::Tail(_) | Self::Replay(_) => measured < limit,
            _ => measured <= limit,
        };
        match (is_met(aim), is_met(must)) {
            (true, true) => Verdict::Aim,
            (_, true) => Verdict::Must,
            // What must be is never stricter than the aim, but for a floor far away from it.
            (_, false) => Verdict::Missed,
        }
    }

    fn shown(self, value: f64) -> String {
        match self {
            Self::Memory(_) => format!("{} B", figure(value)),
            Self::UserCpu(_) => format!("{} µs", figure(value)),
            Self::Delivered(_) => format!("{} %", figure(value)),
            Self::Replay(_) => format!("{} s", figure(value)),
            _ => format!("{} ×", figure(value)),
        }
    }

    fn shown_limit(self, value: f64) -> String {
        let sign = match self {
            Self::Workers { .. } | Self::Capacity { .. } | Self::Delivered(_) => "≥",
            Self::Tail(_) | Self::Replay(_) => "<",
            _ => "≤",
        };
        format!("{sign} {}", self.shown(value))
    }

    fn add_context(self, results: &Results, cores: usize, judgement: &mut Judgement) {
        let note = match self {
            Self::Tail(_) => "over the best of the other servers, without the floors".to_owned(),
            Self::OverNode(_) => "over Node's".to_owned(),
            Self::OverOwn { other, .. } => format!("over its own of {other}"),
            Self::Growth { few, many } => match growth(results, FLOOR, few, many) {
                Some(floor) => format!("that of the floor: {}", self.shown(floor)),
                None => return,
            },
            Self::Capacity { .. } => {
                "twice the CPU time with one worker over that with two".to_owned()
            }
            Self::Workers { .. } if cores < CORES_FOR_WORKERS => {
                if judgement.verdict == Verdict::Missed {
                    judgement.verdict = Verdict::NotJudged;
                }
                format!("client and server share {cores} cores; {CORES_FOR_WORKERS} are needed")
            }
            _ => return,
        };
        if !judgement.note.is_empty() {
            judgement.note.push_str("; ");
        }
        judgement.note.push_str(&note);
    }
}

/// The smallest p99 of the servers that are neither ours nor a floor.
fn best_tail(results: &Results, scenario: &str) -> Option<f64> {
    let others = PEERS
        .iter()
        .filter(|peer| peer.name != KENTONGAN && !peer.is_floor());
    others
        .filter_map(|peer| results.median(scenario, peer.name, Metric::LatencyP99))
        .min_by(f64::total_cmp)
        .filter(|best| *best > 0.0)
}

fn growth(results: &Results, peer: &str, few: &str, many: &str) -> Option<f64> {
    let cpu = |scenario| results.median(scenario, peer, Metric::Cpu);
    Some(cpu(many)? / cpu(few)?)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::bench::{
        results::tests::{cpu, run},
        scenario::SCENARIOS,
    };

    fn judge(target: &Target, reports: &[(&'static str, &'static str, Value)]) -> Judgement {
        let mut results = Results::default();
        for (scenario, peer, report) in reports {
            results.runs.push(run(scenario, peer, report.clone()));
        }
        target.judge(&results, 2)
    }

    #[test]
    fn every_target_is_measured_by_scenarios_that_exist() {
        for target in &TARGETS {
            let names = match target.measure {
                Measure::Memory(name)
                | Measure::OverFloor(name)
                | Measure::UserCpu(name)
                | Measure::Tail(name)
                | Measure::OverNode(name) => vec![name],
                Measure::Delivered(name) | Measure::Replay(name) => vec![name],
                Measure::OverOwn { scenario, other } => vec![scenario, other],
                Measure::Growth { few, many } => vec![few, many],
                Measure::Workers { one, two } | Measure::Capacity { one, two } => vec![one, two],
            };
            for name in names {
                assert!(
                    SCENARIOS.iter().any(|scenario| scenario.name == name),
                    "{name}"
                );
            }
        }
    }

    #[test]
    fn ratios_to_the_floor_are_judged() {
        let echo = target("echo", Measure::OverFloor("echo-1"), 1.2, 1.05);
        let check = |ours, expected| {
            let judgement = judge(
                &echo,
                &[
                    ("echo-1", "kentongan", cpu(ours)),
                    ("echo-1", "floor", cpu(10.0)),
                ],
            );
            assert_eq!(judgement.verdict, expected, "{ours}");
        };
        check(10.4, Verdict::Aim);
        check(11.9, Verdict::Must);
        check(12.1, Verdict::Missed);
        let alone = judge(&echo, &[("echo-1", "kentongan", cpu(9.0))]);
        assert_eq!(alone.verdict, Verdict::NotMeasured);
    }

    #[test]
    fn a_target_below_the_floor_of_tokio_gives_way_and_says_so() {
        let echo = target("echo", Measure::OverFloor("echo-1"), 1.2, 1.05);
        let check = |tokio: f64, ours: f64, expected| {
            let judgement = judge(
                &echo,
                &[
                    ("echo-1", "kentongan", cpu(ours)),
                    ("echo-1", "floor-tokio", cpu(tokio)),
                    ("echo-1", "floor", cpu(10.0)),
                ],
            );
            assert_eq!(judgement.verdict, expected, "{tokio} {ours}");
            assert_eq!(judgement.note.contains("1.1 × floor-tokio"), tokio > 12.0);
        };
        check(12.0, 12.5, Verdict::Missed);
        check(13.0, 14.0, Verdict::Must);
        check(13.0, 14.5, Verdict::Missed);
        check(13.0, 10.1, Verdict::Aim);
    }

    #[test]
    fn memory_and_user_time_are_absolute() {
        let memory = |bytes: u32| json!({"server": {"anonymous_bytes_per_connection": bytes}});
        let idle = target("idle", Measure::Memory("idle-10k"), 2_500.0, 1_500.0);
        let found = judge(&idle, &[("idle-10k", "kentongan", memory(2_500))]);
        assert_eq!(found.verdict, Verdict::Must);
        assert_eq!(
            (found.must.as_str(), found.measured.as_str()),
            ("≤ 2,500 B", "2,500 B")
        );
        let found = judge(&idle, &[("idle-10k", "kentongan", memory(2_501))]);
        assert_eq!(found.verdict, Verdict::Missed);
    }

    #[test]
    fn the_tail_is_compared_with_the_best_other_server() {
        let p99 = |us: u32| json!({"latency_us": {"p99": us}});
        let tail = target("tail", Measure::Tail("fanout-1k"), 1.0, 1.0);
        let check = |ours, expected| {
            let reports = [
                ("fanout-1k", "kentongan", p99(ours)),
                ("fanout-1k", "floor", p99(10)),
                ("fanout-1k", "node", p99(900)),
                ("fanout-1k", "socketioxide", p99(100)),
            ];
            assert_eq!(judge(&tail, &reports).verdict, expected, "{ours}");
        };
        check(99, Verdict::Aim);
        check(100, Verdict::Missed);
    }

    #[test]
    fn what_returns_is_to_get_everything_soon() {
        let jitter = |delivered: u32, us: u32| {
            let report =
                json!({"expected": 100_000, "delivered": delivered, "replay_us": {"p99": us}});
            [("jitter", "kentongan", report)]
        };
        let delivered = target("all", Measure::Delivered("jitter"), 100.0, 100.0);
        assert_eq!(judge(&delivered, &jitter(100_000, 1)).verdict, Verdict::Aim);
        assert_eq!(
            judge(&delivered, &jitter(99_999, 1)).verdict,
            Verdict::Missed
        );
        let replay = target("soon", Measure::Replay("jitter"), 3.0, 1.0);
        assert_eq!(judge(&replay, &jitter(1, 999_999)).verdict, Verdict::Aim);
        let slow = judge(&replay, &jitter(1, 3_000_000));
        assert_eq!(
            (slow.verdict, slow.must.as_str()),
            (Verdict::Missed, "< 3.00 s")
        );
    }

    #[test]
    fn tls_is_compared_with_our_own_without() {
        let own = Measure::OverOwn {
            scenario: "fanout-1k-tls",
            other: "fanout-1k",
        };
        let found = judge(
            &target("tls", own, 1.5, 1.25),
            &[
                ("fanout-1k-tls", "kentongan", cpu(6.0)),
                ("fanout-1k", "kentongan", cpu(4.0)),
            ],
        );
        assert_eq!(
            (found.verdict, found.measured.as_str()),
            (Verdict::Must, "1.50 ×")
        );
    }

    #[test]
    fn growth_and_workers_compare_us_with_ourselves() {
        let growth = TARGETS
            .iter()
            .find(|t| matches!(t.measure, Measure::Growth { .. }))
            .unwrap();
        let found = judge(
            growth,
            &[
                ("growth-100", "kentongan", cpu(8.0)),
                ("growth-15000", "kentongan", cpu(9.2)),
                ("growth-100", "floor", cpu(8.0)),
                ("growth-15000", "floor", cpu(8.8)),
            ],
        );
        assert_eq!(found.verdict, Verdict::Must);
        assert_eq!(found.note, "that of the floor: 1.10 ×");

        let workers = TARGETS
            .iter()
            .find(|t| matches!(t.measure, Measure::Workers { .. }))
            .unwrap();
        let rate = |rate: u32| json!({"operations_per_second": rate});
        let reports = |two| {
            [
                ("workers-1", "kentongan", rate(100)),
                ("workers-2", "kentongan", rate(two)),
            ]
        };
        assert_eq!(judge(workers, &reports(195)).verdict, Verdict::Aim);
        assert_eq!(judge(workers, &reports(120)).verdict, Verdict::NotJudged);
        let mut results = Results::default();
        results
            .runs
            .extend(reports(120).map(|(scenario, peer, report)| run(scenario, peer, report)));
        assert_eq!(workers.judge(&results, 8).verdict, Verdict::Missed);
    }

    #[test]
    fn two_workers_that_cost_more_can_do_less() {
        let echo = TARGETS
            .iter()
            .find(|t| matches!(t.measure, Measure::Capacity { .. }))
            .unwrap();
        let with = |two| {
            let reports = [
                ("workers-1", "kentongan", cpu(1.0)),
                ("workers-2", "kentongan", cpu(two)),
            ];
            judge(echo, &reports)
        };
        assert_eq!(with(1.05).verdict, Verdict::Aim);
        assert_eq!(with(1.1).measured, "1.82 ×");
        assert_eq!(with(1.1).verdict, Verdict::Must);
        assert_eq!(with(1.2).verdict, Verdict::Missed);
    }
}
