//! Pings, pongs, and the deadlines around them. Defaults: interval 25 s, timeout 20 s.

use super::*;

#[test]
fn a_session_that_never_polls_ends_exactly_at_interval_plus_timeout() {
    let mut bench = Bench::polling();
    bench.advance(44_999);
    assert!(bench.session.is_open());
    bench.advance(1);
    assert_eq!(bench.elapsed_ms(), 45_000);
    bench.assert_closed(CloseReason::PingTimeout);
    assert_eq!(bench.get(), Err(RequestError::Unknown));
}

#[test]
fn the_end_is_not_late_when_the_timer_is() {
    let mut bench = Bench::polling();
    bench.now += Duration::from_millis(25_400);
    bench.session.handle_timeout(&bench.config, bench.now);
    let due = bench.session.poll_timeout(&bench.config).unwrap();
    assert_eq!(due.duration_since(bench.start).as_millis(), 45_000);
    bench.now = due;
    assert_eq!(
        bench.get(),
        Err(RequestError::Unknown),
        "the request itself finds the deadline passed"
    );
    bench.assert_closed(CloseReason::PingTimeout);
}

#[test]
fn a_stall_of_the_server_does_not_kill_its_clients() {
    let mut bench = Bench::websocket();
    bench.now += Duration::from_secs(120);
    bench.session.handle_timeout(&bench.config, bench.now);
    assert_eq!(bench.transmit(), ["2"]);
    bench.advance(19_999);
    assert!(bench.session.is_open());
    bench.advance(1);
    bench.assert_closed(CloseReason::PingTimeout);
}

#[test]
fn pong_rearms_the_interval_for_ever() {
    let mut bench = Bench::websocket();
    for _ in 0..100 {
        bench.advance(25_000);
        assert_eq!(bench.transmit(), ["2"]);
        bench.advance(30);
        assert_eq!(bench.packet(&Packet::Pong("")), Received::Nothing);
    }
    assert!(bench.session.is_open());
    bench.advance(45_000);
    bench.assert_closed(CloseReason::PingTimeout);
}

#[test]
fn late_and_repeated_pongs_are_ignored() {
    let mut bench = Bench::websocket();
    assert_eq!(bench.packet(&Packet::Pong("")), Received::Nothing);
    bench.advance(24_000);
    assert_eq!(bench.packet(&Packet::Pong("")), Received::Nothing);
    bench.advance(1_000);
    assert_eq!(
        bench.transmit(),
        ["2"],
        "an unasked pong must not push the ping away"
    );
    for _ in 0..5 {
        assert_eq!(bench.packet(&Packet::Pong("")), Received::Nothing);
    }
    bench.advance(25_000);
    assert_eq!(bench.transmit(), ["2"]);
}

#[test]
fn any_packet_prolongs_the_wait_once_per_ping() {
    let mut bench = Bench::websocket();
    bench.advance(25_000 + 15_000);
    assert_eq!(bench.packet(&Packet::Text("x")), Received::Message);
    bench.advance(10_000);
    assert_eq!(
        bench.packet(&Packet::Text("y")),
        Received::Message,
        "alive only because of the first"
    );
    bench.advance(9_999);
    assert!(bench.session.is_open());
    bench.advance(1);
    bench.assert_closed(CloseReason::PingTimeout);
}

#[test]
fn packets_before_the_ping_do_not_count() {
    let mut bench = Bench::websocket();
    bench.advance(24_999);
    assert_eq!(bench.packet(&Packet::Text("x")), Received::Message);
    bench.advance(20_001);
    bench.assert_closed(CloseReason::PingTimeout);
}

#[test]
fn the_next_ping_after_a_very_late_pong_still_meets_the_client_deadline() {
    let mut bench = Bench::websocket();
    bench.advance(25_000);
    assert_eq!(bench.transmit(), ["2"]);
    bench.advance(19_000);
    assert_eq!(bench.packet(&Packet::Text("upload")), Received::Message);
    bench.advance(19_000);
    assert_eq!(bench.packet(&Packet::Pong("")), Received::Nothing);
    // The client has seen its last ping 38 s ago and gives up after 45 s.
    bench.advance(0);
    assert_eq!(bench.transmit(), ["2"]);
    bench.advance(19_999);
    assert!(bench.session.is_open(), "the new wait is a whole one");
}

#[test]
fn the_deadline_stands_still_while_the_server_does_not_read() {
    let mut bench = Bench::websocket();
    bench.advance(30_000);
    assert_eq!(bench.transmit(), ["2"]);
    bench.session.suspend_heartbeat(bench.now);
    bench.advance(16_000);
    bench.session.suspend_heartbeat(bench.now);
    assert!(bench.session.is_open());
    bench.session.resume_heartbeat(bench.now);
    bench.advance(14_999);
    assert!(bench.session.is_open());
    bench.advance(1);
    bench.assert_closed(CloseReason::PingTimeout);
}

#[test]
fn pings_go_on_while_the_server_does_not_read() {
    let mut bench = Bench::websocket();
    bench.session.suspend_heartbeat(bench.now);
    for _ in 0..4 {
        bench.advance(25_000);
        assert_eq!(
            bench.transmit(),
            ["2"],
            "the client gives up after 45 s without one"
        );
    }
    bench.advance(10_000);
    bench.session.resume_heartbeat(bench.now);
    for _ in 0..4 {
        assert_eq!(bench.packet(&Packet::Pong("")), Received::Nothing);
    }
    bench.advance(25_000);
    assert_eq!(bench.transmit(), ["2"]);
    bench.advance(19_999);
    assert!(bench.session.is_open());
    bench.advance(1);
    bench.assert_closed(CloseReason::PingTimeout);
}

#[test]
fn the_whole_timeout_runs_from_the_resumption_when_the_ping_fell_in_the_pause() {
    let mut bench = Bench::websocket();
    bench.session.suspend_heartbeat(bench.now);
    bench.advance(30_000);
    bench.session.resume_heartbeat(bench.now);
    bench.advance(19_999);
    assert!(bench.session.is_open());
    bench.advance(1);
    bench.assert_closed(CloseReason::PingTimeout);
}

#[test]
fn resume_without_suspend_changes_nothing() {
    let mut bench = Bench::websocket();
    bench.advance(30_000);
    bench.session.resume_heartbeat(bench.now);
    bench.advance(15_000);
    bench.assert_closed(CloseReason::PingTimeout);
}

#[test]
fn a_client_ping_closes() {
    for packet in [Packet::Ping(""), Packet::Ping("probe")] {
        let mut bench = Bench::websocket();
        assert_eq!(bench.packet(&packet), Received::Closed);
        bench.assert_closed(CloseReason::TransportError("invalid heartbeat direction"));
    }
}

#[test]
fn the_heartbeat_survives_an_upgrade_in_every_phase() {
    // Milliseconds of the upgrade: before the first ping, with a pong outstanding, and just before its deadline.
    for at in [0, 10_000, 24_999, 25_000, 30_000, 44_999] {
        for ping_was_polled in [false, true] {
            let mut bench = Bench::polling();
            bench.advance(at);
            if ping_was_polled {
                bench.get().unwrap();
                assert_eq!(bench.body().is_some(), at >= 25_000);
            }
            bench.upgrade();
            // No pong ever comes over the old transport.
            let pinged_within = (0..=25_000).step_by(100).find(|_| {
                bench.advance(100);
                bench.transmit().contains(&"2".to_owned())
            });
            assert!(pinged_within.is_some(), "no ping after the upgrade at {at}");
            assert_eq!(bench.packet(&Packet::Pong("")), Received::Nothing);
            bench.advance(45_000);
            bench.assert_closed(CloseReason::PingTimeout);
        }
    }
}

#[test]
fn a_ping_that_no_get_took_goes_out_after_the_upgrade() {
    let mut bench = Bench::polling();
    bench.advance(26_000);
    assert_eq!(bench.send("2[\"x\"]"), Sent::Queued);
    bench.upgrade();
    assert_eq!(bench.transmit(), ["2", "42[\"x\"]"]);
}

#[test]
fn a_ping_overtakes_what_waits() {
    let mut bench = Bench::websocket();
    bench.advance(24_000);
    assert_eq!(bench.send("2[\"x\"]"), Sent::Queued);
    bench.advance(1_000);
    assert_eq!(bench.transmit(), ["2", "42[\"x\"]"]);
}
