//! The results as a document.

use std::fmt::Write as _;

use crate::bench::{
    figure::{figure, whole},
    machine::{self, Machine},
    measurement::Metric,
    peer::{FLOOR, FLOOR_TOKIO, PEERS},
    results::Results,
    scenario::{Scenario, Unit},
    target::{TARGETS, Verdict},
};

/// The whole document.
pub(crate) fn document(
    machine: &Machine,
    scenarios: &[&'static Scenario],
    results: &Results,
) -> String {
    let mut text = String::from(
        "# Results of the benchmark\n\nWritten by `cargo xtask bench`; [README.md](../README.md) says how it is measured and how to repeat it.\n\
         Every figure is the median of the rounds; *spread* is most less least, over the median. CPU is the server's, in\n\
         microseconds for one operation. Compare ratios, and only within one run.\n\n![CPU and memory over the floor](latest.svg)\n\n",
    );
    text.push_str("## Machine\n\n| | |\n|---|---|\n");
    for (name, value) in machine.lines() {
        row(&mut text, &[name.clone(), value.clone()]);
    }
    row(
        &mut text,
        &["rounds".to_owned(), results.rounds().to_string()],
    );
    if let Some(load) = results.load_average(None) {
        let load = format!(
            "median {:.2}, least {:.2}, most {:.2}",
            load.median, load.least, load.most
        );
        row(&mut text, &["load average before a run".to_owned(), load]);
    }
    text.push('\n');
    targets(&mut text, results);
    for scenario in scenarios {
        section(&mut text, scenario, results);
        let date = results
            .date(scenario.name)
            .filter(|date| *date != machine.date());
        if let Some(date) = date {
            let _ = writeln!(text, "Measured at another time: {date}.\n");
        }
    }
    text
}

fn targets(text: &mut String, results: &Results) {
    text.push_str("## Targets\n\n");
    let judged: Vec<_> = TARGETS
        .iter()
        .map(|target| (target.what, target.judge(results, machine::cores())))
        .collect();
    let count = |verdict| {
        judged
            .iter()
            .filter(|(_, found)| found.verdict == verdict)
            .count()
    };
    let _ = writeln!(
        text,
        "{} met ({} of them with the aim), {} missed, {} not judged, {} not measured.\n",
        count(Verdict::Aim) + count(Verdict::Must),
        count(Verdict::Aim),
        count(Verdict::Missed),
        count(Verdict::NotJudged),
        count(Verdict::NotMeasured),
    );
    text.push_str(
        "| target | must | aim | this run | verdict | note |\n|---|---:|---:|---:|---|---|\n",
    );
    for (what, found) in judged {
        let verdict = found.verdict.word().to_owned();
        row(
            text,
            &[
                what.to_owned(),
                found.must,
                found.aim,
                found.measured,
                verdict,
                found.note,
            ],
        );
    }
    text.push('\n');
}

/// A column: its head, and what stands in it for a peer.
type Column<'a> = (String, Box<dyn Fn(&str) -> Option<String> + 'a>);

fn section(text: &mut String, scenario: &'static Scenario, results: &Results) {
    let _ = writeln!(
        text,
        "## {}\n\n{}.\n",
        scenario.name,
        sentence(scenario.title)
    );
    let peers: Vec<&str> = PEERS
        .iter()
        .map(|peer| peer.name)
        .filter(|peer| results.has(scenario.name, peer))
        .collect();
    // A column in which nobody has anything is left out.
    let columns: Vec<Column<'_>> = columns(scenario, results)
        .into_iter()
        .filter(|(_, cell)| peers.iter().any(|peer| cell(peer).is_some()))
        .collect();
    let heads = columns.iter().map(|(head, _)| head.clone());
    row(
        text,
        &std::iter::once("peer".to_owned())
            .chain(heads)
            .collect::<Vec<_>>(),
    );
    let _ = writeln!(text, "|---|{}", "---:|".repeat(columns.len()));
    for peer in peers {
        let cells = columns
            .iter()
            .map(|(_, cell)| cell(peer).unwrap_or_else(|| "–".to_owned()));
        row(
            text,
            &std::iter::once(peer.to_owned())
                .chain(cells)
                .collect::<Vec<_>>(),
        );
    }
    text.push('\n');
}

fn columns<'a>(scenario: &'static Scenario, results: &'a Results) -> Vec<Column<'a>> {
    let name = scenario.name;
    let median = |head: String, metric| -> Column<'a> {
        (
            head,
            Box::new(move |peer| results.median(name, peer, metric).map(figure)),
        )
    };
    let ratio = |base: &'static str, metric| -> Column<'a> {
        let shown = move |peer: &str| {
            Some(format!(
                "{} ×",
                figure(results.ratio(name, peer, base, metric)?)
            ))
        };
        (format!("÷ {base}"), Box::new(shown))
    };
    let spread = |metric| -> Column<'a> {
        let shown = move |peer: &str| {
            let percent = results.summary(name, peer, metric)?.spread_percent()?;
            Some(format!("{percent:.0} %"))
        };
        ("spread".to_owned(), Box::new(shown))
    };
    let unit = scenario.unit.word();
    let mut columns = if scenario.unit == Unit::Connection {
        vec![
            median("bytes per connection".to_owned(), Metric::Memory),
            // The floor keeps next to nothing, so the ratio to it says nothing.
            ratio(FLOOR_TOKIO, Metric::Memory),
            spread(Metric::Memory),
        ]
    } else {
        vec![
            median(format!("CPU µs per {unit}"), Metric::Cpu),
            ratio(FLOOR, Metric::Cpu),
            ratio(FLOOR_TOKIO, Metric::Cpu),
            spread(Metric::Cpu),
            median("user".to_owned(), Metric::UserCpu),
            median("system".to_owned(), Metric::SystemCpu),
            median(
                format!("{} per second", scenario.unit.plural()),
                Metric::OperationsPerSecond,
            ),
            median("p50 µs".to_owned(), Metric::LatencyP50),
            median("p99 µs".to_owned(), Metric::LatencyP99),
            median("p99.9 µs".to_owned(), Metric::LatencyP999),
            median("most µs".to_owned(), Metric::LatencyMax),
            median("client's CPU µs".to_owned(), Metric::ClientCpu),
        ]
    };
    let load = move |peer: &str| {
        let load = results.load_average(Some((name, peer)))?;
        Some(format!("{:.1}", load.median))
    };
    columns.push(("load average".to_owned(), Box::new(load)));
    let faults = move |peer: &str| {
        let faults = results.faults(name, peer);
        let shown = faults
            .iter()
            .map(|(name, count)| format!("{} {}", whole(*count), name.replace('_', " ")));
        let shown = shown.collect::<Vec<_>>().join(", ");
        Some(if shown.is_empty() {
            "none".to_owned()
        } else {
            format!("⚠ {shown}")
        })
    };
    columns.push(("faults".to_owned(), Box::new(faults)));
    columns
}

fn row(text: &mut String, cells: &[String]) {
    let _ = writeln!(text, "| {} |", cells.join(" | "));
}

/// With a capital letter at its start.
fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters
        .next()
        .map(|letter| letter.to_uppercase().to_string());
    first.unwrap_or_default() + letters.as_str()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::bench::{
        results::tests::{cpu, run},
        scenario,
    };

    #[test]
    fn a_section_has_the_columns_that_say_something() {
        let mut results = Results::default();
        results.runs.push(run("echo-1", "floor", cpu(8.0)));
        let mut report = cpu(10.0);
        report["faults"] = json!({"out_of_order": 3});
        results.runs.push(run("echo-1", "node", report));
        let mut text = String::new();
        let chosen = scenario::chosen(&["echo-1".to_owned()]).unwrap();
        section(&mut text, chosen.first().unwrap(), &results);
        let expected = "\
## echo-1

Echo of 128 bytes, 100 connections, 1 in flight.

| peer | CPU µs per operation | ÷ floor | spread | load average | faults |
|---|---:|---:|---:|---:|---:|
| floor | 8.00 | 1.00 × | 0 % | 1.5 | none |
| node | 10.0 | 1.25 × | 0 % | 1.5 | ⚠ 3 out of order |

";
        assert_eq!(text, expected);
    }
}
