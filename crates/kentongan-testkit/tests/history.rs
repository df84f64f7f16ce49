//! The checker of histories is checked: good histories pass, and each planted bug is caught by the rule that is meant for it.
//!
//! `HISTORY_SEEDS=n` looks at that many good histories instead of 200, and at all seeds of each bug.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot read its input fails"
)]

use std::{
    fs::{self, File},
    io::BufReader,
    path::{Path, PathBuf},
};

use kentongan_testkit::history::{
    Expectations, History, HistoryError, Info, Invoke, RecordError, Recorder, Report, Rule, What,
    check,
    model::{Bug, run},
};

const SEEDS: u64 = 200;

fn seeds() -> Option<u64> {
    let seeds = std::env::var("HISTORY_SEEDS").ok()?;
    Some(seeds.parse().expect("HISTORY_SEEDS is a number"))
}

#[test]
fn good_histories_pass() {
    let mut deliveries = 0;
    let mut checked = [0; Rule::ALL.len()];
    for seed in 0..seeds().unwrap_or(SEEDS) {
        let good = run(seed, None);
        let report = check(&good.history, &good.expectations);
        assert!(report.is_good(), "seed {seed}:\n{report}");
        for (count, rule) in checked.iter_mut().zip(Rule::ALL) {
            *count += report.checked_count(rule);
        }
        deliveries += report.checked_count(Rule::C10);
    }
    println!("{deliveries} deliveries");
    for (count, rule) in checked.into_iter().zip(Rule::ALL) {
        println!("{rule:?} {count}");
        assert!(count > 100, "{rule:?} has nothing to look at");
    }
}

/// How many of the seeds show the bug to its rule; at least one has to.
fn is_caught(bug: Bug, rule: Rule) {
    assert_eq!(bug.rule(), rule, "the test has the wrong name");
    let mut caught = 0;
    for seed in 0..SEEDS {
        let bad = run(seed, Some(bug));
        let report = check(&bad.history, &bad.expectations);
        caught += u64::from(report.violation_count(rule) > 0);
        // One would do; a few show that it is no accident.
        if caught >= 3 && seeds().is_none() {
            println!("{bug:?}: {seed} seeds for 3 catches");
            return;
        }
    }
    assert!(caught > 0, "{bug:?} is not caught by {rule:?}");
    println!("{bug:?}: caught {caught} times in {SEEDS} seeds");
}

macro_rules! caught {
    ($($name:ident: $bug:ident by $rule:ident,)+) => {
        $(
            #[test]
            fn $name() {
                is_caught(Bug::$bug, Rule::$rule);
            }
        )+

        #[test]
        fn each_bug_has_its_test() {
            assert_eq!(Bug::ALL, [$(Bug::$bug,)+]);
        }
    };
}

caught! {
    fault_without_trace_is_caught_by_vacuous: FaultWithoutTrace by Vacuous,
    ack_before_sync_is_caught_by_c1: AckBeforeSync by C1,
    phantom_is_caught_by_c2: Phantom by C2,
    aborted_read_is_caught_by_c3: AbortedRead by C3,
    unknown_twice_is_caught_by_c4: UnknownTwice by C4,
    offset_reuse_is_caught_by_c5: OffsetReuse by C5,
    duplicate_append_is_caught_by_c6: DuplicateAppend by C6,
    hole_in_final_read_is_caught_by_c7: HoleInFinalRead by C7,
    stale_order_is_caught_by_c8: StaleOrder by C8,
    publisher_reorder_is_caught_by_c9: PublisherReorder by C9,
    swap_deliveries_is_caught_by_c10: SwapDeliveries by C10,
    duplicate_on_resume_is_caught_by_c11: DuplicateOnResume by C11,
    resume_from_same_is_caught_by_c12: ResumeFromSame by C12,
    resume_skips_one_is_caught_by_c12: ResumeSkipsOne by C12,
    false_reset_is_caught_by_c13: FalseReset by C13,
    false_gap_is_caught_by_c13: FalseGap by C13,
    silent_gap_is_caught_by_c14: SilentGap by C14,
    wrong_epoch_kept_is_caught_by_c14: WrongEpochKept by C14,
    drop_delivery_is_caught_by_c15: DropDelivery by C15,
    lost_subscribe_window_is_caught_by_c15: LostSubscribeWindow by C15,
    live_lost_at_join_is_caught_by_c15: LiveLostAtJoin by C15,
    key_forgotten_after_restart_is_caught_by_c16: KeyForgottenAfterRestart by C16,
    duplicate_flag_wrong_is_caught_by_c16: DuplicateFlagWrong by C16,
    revoke_ignored_is_caught_by_c17: RevokeIgnored by C17,
    revoke_ignored_on_replay_is_caught_by_c17: RevokeIgnoredOnReplay by C17,
    expiry_ignored_is_caught_by_c17: ExpiryIgnored by C17,
    publish_without_right_is_caught_by_c17: PublishWithoutRight by C17,
    cross_tenant_delivery_is_caught_by_c18: CrossTenantDelivery by C18,
    ack_to_other_event_is_caught_by_c19: AckToOtherEvent by C19,
    ack_twice_is_caught_by_c19: AckTwice by C19,
    pending_acks_left_is_caught_by_c19: PendingAcksLeft by C19,
    hang_is_caught_by_c21: Hang by C21,
    stuck_after_fault_is_caught_by_c22: StuckAfterFault by C22,
    behind_forever_is_caught_by_c22: BehindForever by C22,
    task_leak_is_caught_by_c23: TaskLeak by C23,
    epoch_churn_is_caught_by_c24: EpochChurn by C24,
    reset_untold_is_caught_by_c24: ResetUntold by C24,
    history_differs_is_caught_by_c25: HistoryDiffers by C25,
    history_skips_is_caught_by_c25: HistorySkips by C25,
}

fn histories(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new("tests/histories").join(folder);
    let mut paths: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    paths
}

fn check_file(path: &Path) -> Report {
    let history = History::read(BufReader::new(File::open(path).unwrap())).unwrap();
    let expectations = fs::read_to_string("tests/histories/expectations.json").unwrap();
    let expectations: Expectations = serde_json::from_str(&expectations).unwrap();
    check(&history, &expectations.with_rights_of(&history))
}

#[test]
fn good_histories_by_hand_pass() {
    let paths = histories("good");
    assert!(paths.len() >= 10);
    for path in paths {
        let report = check_file(&path);
        assert!(report.is_good(), "{}:\n{report}", path.display());
    }
}

/// The name of the file begins with the rule.
#[test]
fn bad_histories_by_hand_are_caught() {
    let paths = histories("bad");
    assert!(paths.len() >= 10);
    for path in paths {
        let name = path.file_stem().unwrap().to_str().unwrap();
        let rule = Rule::ALL
            .into_iter()
            .find(|rule| name.starts_with(&format!("{rule:?}_").to_lowercase()))
            .expect("the name begins with a rule");
        let report = check_file(&path);
        assert!(report.violation_count(rule) > 0, "{name}:\n{report}");
    }
}

#[test]
fn a_run_that_proves_nothing_is_vacuous() {
    let good = run(1, None);
    let is_vacuous = |change: fn(&mut Expectations)| {
        let mut expectations = good.expectations.clone();
        change(&mut expectations);
        let report = check(&good.history, &expectations);
        report.violation_count(Rule::Vacuous) > 0
    };
    assert!(!is_vacuous(|_| {}));
    assert!(is_vacuous(|e| e.deliveries_min = 1_000_000));
    assert!(is_vacuous(|e| e.faults_min = 1_000));
    assert!(is_vacuous(|e| e.reconnects_min = 1_000));
    assert!(is_vacuous(|e| e.progress_within_ms = 1_000_000));
    let nothing = check(&History::default(), &Expectations::default());
    assert!(!nothing.is_good());
    // Without the final reads.
    let mut events = good.history.events().to_vec();
    events.retain(|event| !matches!(event.what, What::Invoke(Invoke::FinalRead { .. })));
    let report = check(&History::new(events), &good.expectations);
    assert!(report.violation_count(Rule::Vacuous) > 0);
}

#[test]
fn a_history_comes_back_from_its_json_lines() {
    let good = run(7, None);
    let mut lines = Vec::new();
    good.history.write(&mut lines).unwrap();
    let again = History::read(lines.as_slice()).unwrap();
    assert_eq!(good.history, again);
    let line = String::from_utf8(lines).unwrap();
    let line = line
        .lines()
        .find(|line| line.contains(r#""f":"publish""#))
        .unwrap();
    for part in [r#"{"t_ns":"#, r#""proc":"#, r#""type":"#, r#""call":"#] {
        assert!(line.contains(part), "{line}");
    }
}

#[test]
fn a_line_that_is_no_event_is_named() {
    let text = "# a comment\n\n{\"t_ns\":1}\n";
    let error = History::read(text.as_bytes()).unwrap_err();
    assert!(
        matches!(error, HistoryError::Line { line: 3, .. }),
        "{error}"
    );
    assert_eq!(error.code(), "history_line");
}

#[test]
fn a_recorder_that_is_full_says_so() {
    let record = |times| {
        let clock = std::sync::atomic::AtomicU64::new(0);
        let tick = || clock.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let recorder = Recorder::in_memory(tick, 3);
        for call in 0..times {
            recorder.record("a", What::Info(Info::Unknown { call }));
        }
        recorder.finish()
    };
    assert_eq!(record(3).unwrap().events().len(), 3);
    let error = record(4).unwrap_err();
    assert!(matches!(error, RecordError::Full { events_max: 3 }));
}

#[test]
fn a_recorder_writes_lines_that_can_be_read() {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("recorded.jsonl");
    let recorder = Recorder::to_file(|| 5, 10, &path).unwrap();
    std::thread::scope(|scope| {
        for call in 0..4 {
            let recorder = &recorder;
            scope.spawn(move || recorder.record("a", What::Info(Info::Unknown { call })));
        }
    });
    recorder.finish().unwrap();
    let history = History::read(BufReader::new(File::open(&path).unwrap())).unwrap();
    let mut calls: Vec<_> = history.events().iter().filter_map(|e| e.call()).collect();
    calls.sort_unstable();
    assert_eq!(calls, [0, 1, 2, 3]);
}
