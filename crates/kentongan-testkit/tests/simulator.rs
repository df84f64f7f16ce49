//! Ten thousand lives of a session, each from its seed, and the proof that the simulator notices bugs.
//!
//! `SIM_SEED=n cargo test -p kentongan-testkit simulator` replays exactly one seed and prints what happens in it.
//! `SIM_SEEDS=n` runs that many instead of ten thousand.

use std::collections::BTreeMap;
use std::io::Write as _;

use kentongan_testkit::sim::{Failure, Mutation, Report, Trace, run};

#[test]
fn simulator_upgrade_and_polling_10_000_seeds() {
    if let Some(seed) = std::env::var_os("SIM_SEED") {
        let seed = seed
            .to_str()
            .and_then(|seed| seed.parse().ok())
            .expect("SIM_SEED is a number");
        return assert!(replay(seed), "seed {seed} broke a promise");
    }
    let seeds = std::env::var("SIM_SEEDS")
        .map_or(Ok(10_000), |seeds| seeds.parse())
        .expect("SIM_SEEDS is a number");
    let mut total = Report::default();
    let mut upgraded = 0;
    let mut reasons = BTreeMap::<&str, u32>::new();
    for seed in 0..seeds {
        match run(seed, None, Trace::Off) {
            Ok(report) => {
                upgraded += u64::from(report.upgraded);
                *reasons.entry(report.reason.unwrap_or("up")).or_default() += 1;
                add(&mut total, &report);
            }
            Err(failure) => {
                replay(seed);
                panic!("seed {seed}: {}", failure.violation);
            }
        }
    }
    println!("{upgraded} upgrades, {reasons:?}, {total:?}");
    // A simulator that gets nowhere finds nothing.
    assert!(upgraded > 5_000);
    assert!(total.to_client > 100_000 && total.to_server > 100_000);
    assert!(total.flushed_at_upgrade > 100);
    assert!(total.noops > 5_000);
    assert!(total.posts_while_probing > 1_000);
    assert!(total.probes_lost > 1_000);
    assert!(total.volatile_dropped > 1_000);
    assert!(total.noise > 500);
    for reason in [
        "up",
        "forced close",
        "parse error",
        "ping timeout",
        "slow consumer",
        "transport close",
        "transport error",
    ] {
        assert!(
            reasons.get(reason).is_some_and(|count| *count > 20),
            "{reason}: {reasons:?}"
        );
    }
}

#[test]
fn every_planted_bug_is_caught() {
    for mutation in Mutation::ALL {
        let caught = (0..10_000).find_map(|seed| run(seed, Some(mutation), Trace::Off).err());
        match caught {
            Some(Failure {
                seed, violation, ..
            }) => println!("{mutation:?}: seed {seed}: {violation}"),
            None => panic!("{mutation:?} was not caught"),
        }
    }
}

#[test]
fn a_seed_is_the_whole_story() {
    for seed in 0..50 {
        let first = run(seed, None, Trace::On).expect("these seeds pass").trace;
        let second = run(seed, None, Trace::On).expect("these seeds pass").trace;
        assert!(first.len() > 3);
        assert_eq!(first, second, "seed {seed}");
    }
}

fn add(total: &mut Report, report: &Report) {
    total.steps += report.steps;
    total.to_client += report.to_client;
    total.to_server += report.to_server;
    total.flushed_at_upgrade += report.flushed_at_upgrade;
    total.noops += report.noops;
    total.posts_while_probing += report.posts_while_probing;
    total.probes_lost += report.probes_lost;
    total.volatile_dropped += report.volatile_dropped;
    total.noise += report.noise;
}

/// Prints past the capture of the test harness: whoever replays a seed wants to see it. False when a promise broke.
fn replay(seed: u64) -> bool {
    let (trace, verdict, held) = match run(seed, None, Trace::On) {
        Ok(report) => (report.trace, "all promises held".to_owned(), true),
        Err(failure) => (
            failure.trace,
            format!("BROKEN: {}", failure.violation),
            false,
        ),
    };
    let mut out = std::io::stderr().lock();
    for line in trace {
        writeln!(out, "{line}").expect("stderr takes it");
    }
    writeln!(out, "seed {seed}: {verdict}").expect("stderr takes it");
    held
}
