//! Bounds in bytes and time, volatile frames, and closing with a flush on a WebSocket.

use super::*;

fn kilobyte() -> Frame {
    Frame::message(&"x".repeat(1019), &[])
}

#[test]
fn the_bound_in_bytes_is_inclusive_and_closes_above() {
    let mut bench = Bench::websocket();
    let len = kilobyte().len();
    bench.config.outbox_bytes_max = 4 * len;
    for _ in 0..4 {
        assert_eq!(
            bench
                .session
                .send(&bench.config, bench.now, kilobyte(), Class::Reliable),
            Sent::Queued
        );
    }
    assert_eq!(bench.session.outbox_bytes(), 4 * len);
    assert_eq!(bench.send("2[\"x\"]"), Sent::Overflow);
    bench.assert_closed(CloseReason::SlowConsumer);
    assert_eq!(bench.send("2[\"x\"]"), Sent::Closed);
    assert!(bench.session.poll_transmit().is_none());
}

#[test]
fn what_the_kernel_has_not_taken_counts() {
    let mut bench = Bench::websocket();
    let len = kilobyte().len();
    bench.config.outbox_bytes_max = 2 * len;
    for _ in 0..2 {
        assert_eq!(
            bench
                .session
                .send(&bench.config, bench.now, kilobyte(), Class::Reliable),
            Sent::Queued
        );
        assert!(bench.session.poll_transmit().is_some());
    }
    assert_eq!(bench.session.outbox_bytes(), 2 * len);
    bench.session.handle_transmit_progress(bench.now, len + 5);
    assert_eq!(bench.session.outbox_bytes(), len - 5);
    assert_eq!(
        bench
            .session
            .send(&bench.config, bench.now, kilobyte(), Class::Reliable),
        Sent::Queued
    );
    bench.session.handle_transmit_done(bench.now);
    assert_eq!(bench.session.outbox_bytes(), len, "the queued one only");
}

#[test]
fn one_big_frame_passes_an_empty_outbox() {
    let mut bench = Bench::websocket();
    bench.config.outbox_bytes_max = 10;
    assert_eq!(
        bench
            .session
            .send(&bench.config, bench.now, kilobyte(), Class::Reliable),
        Sent::Queued
    );
    assert_eq!(bench.transmit().len(), 1);
    assert_eq!(
        bench
            .session
            .send(&bench.config, bench.now, kilobyte(), Class::Reliable),
        Sent::Queued
    );
    assert_eq!(bench.send("2"), Sent::Overflow);
}

#[test]
fn no_progress_closes_after_the_age_and_progress_prolongs() {
    let mut bench = Bench::websocket();
    bench.config.ping_interval = Duration::from_secs(3600);
    assert_eq!(
        bench
            .session
            .send(&bench.config, bench.now, kilobyte(), Class::Reliable),
        Sent::Queued
    );
    bench.advance(20_000);
    let frame = bench.session.poll_transmit().unwrap();
    bench.advance(9_000);
    bench.session.handle_transmit_progress(bench.now, 1);
    assert_eq!(
        bench.send("2[\"x\"]"),
        Sent::Queued,
        "a new frame is no progress"
    );
    bench.advance(29_999);
    assert!(bench.session.is_open(), "{} bytes", frame.len());
    bench.session.handle_transmit_progress(bench.now, 0);
    bench.advance(1);
    bench.assert_closed(CloseReason::SlowConsumer);
}

#[test]
fn an_empty_outbox_has_no_age() {
    let mut bench = Bench::websocket();
    bench.config.ping_interval = Duration::from_secs(3600);
    assert_eq!(bench.send("2[\"x\"]"), Sent::Queued);
    assert_eq!(bench.transmit().len(), 1);
    bench.advance(100_000);
    assert_eq!(bench.send("2[\"x\"]"), Sent::Queued);
    bench.advance(29_999);
    assert!(
        bench.session.is_open(),
        "the age runs from when it stopped being empty"
    );
    bench.advance(1);
    bench.assert_closed(CloseReason::SlowConsumer);
}

#[test]
fn a_polling_client_that_does_not_come_is_slow_too() {
    let mut bench = Bench::polling();
    assert_eq!(bench.send("2[\"x\"]"), Sent::Queued);
    bench.advance(10_000);
    bench.get().unwrap();
    assert!(bench.body().is_some());
    assert_eq!(bench.send("2[\"y\"]"), Sent::Queued);
    bench.advance(30_000);
    bench.assert_closed(CloseReason::SlowConsumer);
}

#[test]
fn volatile_on_a_websocket() {
    let mut bench = Bench::websocket();
    assert_eq!(bench.send_volatile("2[\"a\"]"), Sent::Queued);
    assert_eq!(
        bench.send_volatile("2[\"b\"]"),
        Sent::Dropped,
        "the first is not written yet"
    );
    assert_eq!(bench.send("2[\"c\"]"), Sent::Queued);
    assert_eq!(bench.transmit(), ["42[\"a\"]", "42[\"c\"]"]);
    bench.session.set_writable(false);
    assert_eq!(bench.send_volatile("2[\"d\"]"), Sent::Dropped);
    assert_eq!(bench.send("2[\"e\"]"), Sent::Queued);
    bench.session.set_writable(true);
    assert_eq!(
        bench.send_volatile("2[\"f\"]"),
        Sent::Dropped,
        "a reliable one waits before it"
    );
    assert_eq!(bench.transmit(), ["42[\"e\"]"]);
    assert_eq!(bench.send_volatile("2[\"g\"]"), Sent::Queued);
}

#[test]
fn volatile_on_polling_needs_a_parked_get() {
    let mut bench = Bench::polling();
    assert_eq!(bench.send_volatile("2[\"a\"]"), Sent::Dropped);
    bench.get().unwrap();
    assert_eq!(bench.send_volatile("2[\"b\"]"), Sent::Queued);
    assert_eq!(bench.send_volatile("2[\"c\"]"), Sent::Dropped);
    assert_eq!(bench.body().unwrap(), "42[\"b\"]");
    assert_eq!(bench.send_volatile("2[\"d\"]"), Sent::Dropped);
}

#[test]
fn a_websocket_flushes_before_it_closes() {
    let mut bench = Bench::websocket();
    assert_eq!(bench.send("2[\"a\"]"), Sent::Queued);
    assert_eq!(bench.send("2[\"b\"]"), Sent::Queued);
    bench
        .session
        .close(bench.now, CloseReason::ForcedClose, Flush::Yes);
    let first = bench.session.poll_transmit().unwrap();
    let second = bench.session.poll_transmit().unwrap();
    assert!(bench.session.poll_transmit().is_none());
    bench
        .session
        .handle_transmit_progress(bench.now, first.len());
    assert!(
        !bench.session.is_closed(),
        "the kernel has not taken the second"
    );
    bench
        .session
        .handle_transmit_progress(bench.now, second.len());
    bench.assert_closed(CloseReason::ForcedClose);

    let mut bench = Bench::websocket();
    bench
        .session
        .close(bench.now, CloseReason::ForcedClose, Flush::Yes);
    bench.assert_closed(CloseReason::ForcedClose);
}

#[test]
fn a_flush_that_does_not_end_is_cut_off() {
    let mut bench = Bench::websocket();
    bench.config.outbox_age_max = Duration::from_secs(300);
    assert_eq!(bench.send("2[\"a\"]"), Sent::Queued);
    bench.advance(24_000);
    bench
        .session
        .close(bench.now, CloseReason::ForcedClose, Flush::Yes);
    bench.advance(29_999);
    assert!(!bench.session.is_closed());
    bench.advance(1);
    bench.assert_closed(CloseReason::ForcedClose);
}

#[test]
fn a_closed_websocket_ends_the_session_once() {
    let mut bench = Bench::polling();
    bench
        .session
        .handle_websocket_closed(bench.now, CloseReason::TransportClose);
    assert!(bench.session.is_open(), "no WebSocket carries it");
    bench.upgrade();
    assert_eq!(bench.send("2[\"a\"]"), Sent::Queued);
    bench
        .session
        .handle_websocket_closed(bench.now, CloseReason::TransportClose);
    bench.assert_closed(CloseReason::TransportClose);
    bench
        .session
        .handle_websocket_closed(bench.now, CloseReason::TransportError("reset"));
    bench.assert_closed(CloseReason::TransportClose);
}

/// Taking many frames at once is taking them one by one, and stops where it is told to.
#[test]
fn many_at_once_are_the_same_as_one_by_one() {
    let filled = |ping: bool| {
        let mut bench = Bench::websocket();
        for text in ["2[1]", "2[22]", "2[333]", "2[4444]"] {
            assert_eq!(bench.send(text), Sent::Queued);
        }
        if ping {
            bench.advance(25_000);
        }
        bench
    };
    for ping in [false, true] {
        let one_by_one = filled(ping).transmit();
        for frames_max in 0..=6 {
            for bytes_max in [0, 1, 7, 8, 20, 1000] {
                let mut bench = filled(ping);
                let before = bench.session.outbox_bytes();
                let mut many = Vec::new();
                let bytes = bench
                    .session
                    .transmit_many(frames_max, bytes_max, |frame| many.push(frame));
                let texts: Vec<_> = many
                    .iter()
                    .map(|frame| String::from_utf8(frame.polling().to_vec()).unwrap())
                    .collect();
                assert_eq!(texts, one_by_one[..texts.len()]);
                assert!(texts.len() <= frames_max);
                assert_eq!(bytes, many.iter().map(Frame::len).sum::<usize>());
                // The last one may pass the bound, none before it.
                let data = many.iter().skip(usize::from(ping));
                let all_but_last = data.clone().count().saturating_sub(1);
                let before_last: usize = data.take(all_but_last).map(Frame::len).sum();
                assert!(before_last < bytes_max.max(1));
                let is_full = texts.len() == frames_max || texts.len() == one_by_one.len();
                assert!(is_full || bytes >= bytes_max, "{texts:?}");
                assert!(bench.session.outbox_bytes() >= before);
                bench.session.handle_transmit_done(bench.now);
                assert_eq!(bench.transmit(), one_by_one[texts.len()..]);
                assert_eq!(bench.session.outbox_bytes(), 0);
            }
        }
    }
}
