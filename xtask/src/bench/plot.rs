//! The results as a picture: one bar for each peer and scenario, as long as its ratio to the floor, on a logarithmic axis.
//!
//! Written by hand, because no drawing crate writes a picture that follows the reader's light or dark page.

use std::fmt::Write as _;

use crate::bench::{
    figure::figure,
    measurement::Metric,
    peer::{FLOOR, FLOOR_TOKIO, KENTONGAN, NODE, SOCKETIOXIDE},
    results::Results,
    scenario::{Scenario, Unit},
};

const WIDTH: f64 = 840.0;
/// Where the axis begins and ends.
const LEFT: f64 = 170.0;
const RIGHT: f64 = 730.0;
const TOP: f64 = 78.0;
const BAR: f64 = 13.0;
const GAP: f64 = 14.0;
/// The axis begins below the floor: noise puts a peer there, too.
const AXIS_FROM: f64 = 0.5;
const AXIS_TICKS: [f64; 9] = [0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0];
/// Peer and its colour, which is legible on white and on black.
const COLOURS: [(&str, &str); 4] = [
    (KENTONGAN, "#e8590c"),
    (FLOOR_TOKIO, "#868e96"),
    (SOCKETIOXIDE, "#1c7ed6"),
    (NODE, "#37b24d"),
];
const STYLE: &str = "text{font:12px system-ui,sans-serif;fill:#212529}.q{fill:#6c757d}.t{font-size:15px;font-weight:600}\
    line{stroke:#ced4da}.one{stroke:#495057;stroke-width:1.5}\
    @media(prefers-color-scheme:dark){text{fill:#e9ecef}.q{fill:#adb5bd}line{stroke:#495057}.one{stroke:#ced4da}}";

/// What is drawn of one scenario: each peer and its ratio.
struct Group {
    name: String,
    bars: Vec<(&'static str, &'static str, f64)>,
}

/// The picture, as SVG.
pub(crate) fn picture(scenarios: &[&'static Scenario], results: &Results) -> String {
    let groups: Vec<Group> = scenarios
        .iter()
        .map(|scenario| group(scenario, results))
        .filter(|group| !group.bars.is_empty())
        .collect();
    let most = groups
        .iter()
        .flat_map(|group| &group.bars)
        .map(|(_, _, ratio)| *ratio)
        .fold(2.0, f64::max);
    let axis = Axis::up_to(most);
    let mut body = String::new();
    let mut y = TOP;
    for group in &groups {
        let height = group.bars.len() as f64 * BAR;
        let _ = writeln!(
            body,
            r#"<text x="{:.0}" y="{:.1}" text-anchor="end">{}</text>"#,
            LEFT - 10.0,
            y + height / 2.0 + 4.0,
            group.name
        );
        for (_, colour, ratio) in &group.bars {
            let (start, end) = (
                axis.x(1.0).min(axis.x(*ratio)),
                axis.x(1.0).max(axis.x(*ratio)),
            );
            let _ = writeln!(
                body,
                r#"<rect x="{start:.1}" y="{y:.1}" width="{:.1}" height="{:.1}" fill="{colour}"/><text x="{:.1}" y="{:.1}" class="q">{} ×</text>"#,
                (end - start).max(1.5),
                BAR - 2.0,
                end + 5.0,
                y + BAR - 3.0,
                figure(*ratio)
            );
            y += BAR;
        }
        y += GAP;
    }
    frame(&axis, &body, y)
}

fn group(scenario: &'static Scenario, results: &Results) -> Group {
    // Memory is compared with the floor of tokio: the bare floor keeps next to nothing.
    let (base, metric) = match scenario.unit {
        Unit::Connection => (FLOOR_TOKIO, Metric::Memory),
        _ => (FLOOR, Metric::Cpu),
    };
    let bars = COLOURS.into_iter().filter(|(peer, _)| *peer != base);
    let bars = bars.filter_map(|(peer, colour)| {
        let ratio = results.ratio(scenario.name, peer, base, metric)?;
        (ratio > 0.0).then_some((peer, colour, ratio))
    });
    let star = if base == FLOOR { "" } else { " *" };
    Group {
        name: format!("{}{star}", scenario.name),
        bars: bars.collect(),
    }
}

/// From a ratio to a place.
struct Axis {
    to: f64,
}

impl Axis {
    fn up_to(most: f64) -> Self {
        let to = AXIS_TICKS.into_iter().find(|tick| *tick >= most);
        Self {
            to: to.unwrap_or(most),
        }
    }

    fn x(&self, ratio: f64) -> f64 {
        let part = (ratio / AXIS_FROM).ln() / (self.to / AXIS_FROM).ln();
        LEFT + (RIGHT - LEFT) * part.clamp(0.0, 1.0)
    }
}

/// Title, legend and axis around the bars, which end at `bottom`.
fn frame(axis: &Axis, bars: &str, bottom: f64) -> String {
    let height = bottom + 34.0;
    let mut text = format!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH:.0} {height:.0}" role="img">
<title>CPU time and memory of each server, over the floor</title>
<style>{STYLE}</style>
<text x="10" y="22" class="t">CPU time of the server for one operation, over the floor (less is better)</text>
<text x="10" y="40" class="q">* memory of an idle connection, over floor-tokio</text>
"#
    );
    let mut x = 10.0;
    for (peer, colour) in COLOURS {
        let _ = writeln!(
            text,
            r#"<rect x="{x:.0}" y="51" width="12" height="12" fill="{colour}"/><text x="{:.0}" y="62">{peer}</text>"#,
            x + 17.0
        );
        x += 40.0 + peer.len() as f64 * 8.0;
    }
    for tick in AXIS_TICKS.into_iter().filter(|tick| *tick <= axis.to) {
        let (x, class) = (axis.x(tick), if tick == 1.0 { "one" } else { "" });
        let _ = writeln!(
            text,
            r#"<line x1="{x:.1}" y1="{:.1}" x2="{x:.1}" y2="{bottom:.1}" class="{class}"/><text x="{x:.1}" y="{:.1}" text-anchor="middle" class="q">{tick} ×</text>"#,
            TOP - 6.0,
            bottom + 16.0
        );
    }
    text.push_str(bars);
    text.push_str("</svg>\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::{
        results::tests::{cpu, run},
        scenario,
    };

    #[test]
    fn the_axis_is_logarithmic_and_ends_at_a_tick() {
        let axis = Axis::up_to(30.0);
        assert_eq!(axis.to, 50.0);
        assert_eq!((axis.x(0.5), axis.x(50.0)), (LEFT, RIGHT));
        let (near, far) = (axis.x(2.0) - axis.x(1.0), axis.x(20.0) - axis.x(10.0));
        assert!((near - far).abs() < 0.001, "{near} {far}");
        assert_eq!(axis.x(0.01), LEFT);
    }

    #[test]
    fn peers_without_a_ratio_are_not_drawn() {
        let mut results = Results::default();
        results.runs.push(run("echo-1", "floor", cpu(8.0)));
        results.runs.push(run("echo-1", "kentongan", cpu(10.0)));
        results.runs.push(run("polling-1k", "node", cpu(10.0)));
        let text = picture(&scenario::chosen(&[]).unwrap(), &results);
        assert!(
            text.contains("1.25 ×</text>") && text.contains(">echo-1<"),
            "{text}"
        );
        assert!(!text.contains("polling-1k"), "{text}");
        assert_eq!(text.matches("<rect").count(), COLOURS.len() + 1);
    }
}
