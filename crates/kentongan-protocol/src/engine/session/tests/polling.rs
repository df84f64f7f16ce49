//! GET and POST: parking, bodies, overlap, aborts, and closing through them.

use super::*;

#[test]
fn a_get_waits_for_a_packet_and_takes_all_of_them() {
    let mut bench = Bench::polling();
    bench.get().unwrap();
    assert_eq!(bench.body(), None);
    assert_eq!(bench.send("2[\"a\"]"), Sent::Queued);
    assert_eq!(bench.send("2[\"b\"]"), Sent::Queued);
    assert_eq!(bench.body().unwrap(), "42[\"a\"]\u{1e}42[\"b\"]");
    assert_eq!(bench.body(), None, "one body per GET");
    assert_eq!(bench.send("2[\"c\"]"), Sent::Queued);
    assert_eq!(bench.body(), None, "no GET is parked");
    bench.get().unwrap();
    assert_eq!(bench.body().unwrap(), "42[\"c\"]");
}

#[test]
fn a_body_has_at_most_16_packets_because_python_engineio_takes_no_more() {
    for (queued, bodies) in [
        (15, vec![15]),
        (16, vec![16]),
        (17, vec![16, 1]),
        (33, vec![16, 16, 1]),
    ] {
        let mut bench = Bench::polling();
        for _ in 0..queued {
            assert_eq!(bench.send("2[1]"), Sent::Queued);
        }
        let mut seen = Vec::new();
        for _ in &bodies {
            bench.get().unwrap();
            seen.push(bench.body().unwrap().split('\u{1e}').count());
        }
        assert_eq!(seen, bodies);
        bench.get().unwrap();
        assert_eq!(bench.body(), None, "nothing is left");
    }
}

#[test]
fn a_ping_answers_a_get() {
    let mut bench = Bench::polling();
    bench.get().unwrap();
    bench.advance(25_000);
    assert_eq!(bench.body().unwrap(), "2");
}

#[test]
fn overlapping_gets_close_the_session() {
    let mut bench = Bench::polling();
    bench.get().unwrap();
    assert_eq!(bench.get(), Err(RequestError::Overlap));
    bench.assert_closed(CloseReason::TransportError("overlapping GET"));
    assert_eq!(bench.body().unwrap(), "1", "the parked one is answered");
    assert_eq!(bench.get(), Err(RequestError::Unknown));
}

#[test]
fn overlapping_posts_close_the_session() {
    let mut bench = Bench::polling();
    bench.get().unwrap();
    bench.session.handle_post(bench.now).unwrap();
    assert_eq!(
        bench.session.handle_post(bench.now),
        Err(RequestError::Overlap)
    );
    bench.assert_closed(CloseReason::TransportError("overlapping POST"));
    assert_eq!(bench.body().unwrap(), "1");
    assert_eq!(bench.packet(&Packet::Text("x")), Received::Closed);
}

#[test]
fn posts_one_after_the_other_are_fine() {
    let mut bench = Bench::polling();
    for _ in 0..3 {
        bench.session.handle_post(bench.now).unwrap();
        assert_eq!(bench.packet(&Packet::Text("x")), Received::Message);
        bench.session.handle_post_end();
    }
    assert!(bench.session.is_open());
}

#[test]
fn an_aborted_get_closes_parked_or_answered() {
    let lost = CloseReason::TransportError("poll connection closed prematurely");
    let mut bench = Bench::polling();
    bench.get().unwrap();
    bench.session.handle_get_aborted(bench.now);
    bench.assert_closed(lost);

    let mut bench = Bench::polling();
    bench.get().unwrap();
    assert_eq!(bench.send("2[\"a\"]"), Sent::Queued);
    assert!(bench.body().is_some());
    bench.session.handle_get_aborted(bench.now);
    bench.assert_closed(lost);
}

#[test]
fn a_get_parked_while_the_answer_of_the_last_one_breaks_off_is_answered() {
    let mut bench = Bench::polling();
    bench.get().unwrap();
    assert_eq!(bench.send("2[\"a\"]"), Sent::Queued);
    assert!(bench.body().is_some());
    bench.get().unwrap();
    bench.session.handle_get_aborted(bench.now);
    bench.assert_closed(CloseReason::TransportError(
        "poll connection closed prematurely",
    ));
    assert_eq!(bench.body().unwrap(), "1");
}

#[test]
fn an_abort_after_the_upgrade_closes_only_when_packets_were_lost() {
    let mut bench = Bench::polling();
    bench.get().unwrap();
    bench.upgrade();
    assert_eq!(bench.body().unwrap(), "6");
    bench.session.handle_get_aborted(bench.now);
    assert!(bench.session.is_open(), "a noop is no loss");

    let mut bench = Bench::polling();
    bench.get().unwrap();
    assert_eq!(bench.send("2[\"a\"]"), Sent::Queued);
    assert!(bench.body().is_some());
    bench.get().unwrap();
    bench.upgrade();
    bench.session.handle_get_aborted(bench.now);
    bench.assert_closed(CloseReason::TransportError(
        "poll connection closed prematurely",
    ));
}

#[test]
fn the_client_closes() {
    let mut bench = Bench::polling();
    bench.get().unwrap();
    bench.session.handle_post(bench.now).unwrap();
    assert_eq!(bench.packet(&Packet::Close), Received::Closed);
    bench.session.handle_post_end();
    bench.assert_closed(CloseReason::TransportClose);
    assert_eq!(bench.body().unwrap(), "6");
    assert_eq!(
        bench.session.handle_post(bench.now),
        Err(RequestError::Unknown)
    );
}

#[test]
fn the_server_closes_with_a_parked_get() {
    let mut bench = Bench::polling();
    bench.get().unwrap();
    bench
        .session
        .close(bench.now, CloseReason::ForcedClose, Flush::Yes);
    assert!(!bench.session.is_open() && !bench.session.is_closed());
    assert_eq!(bench.send("2[\"x\"]"), Sent::Closed);
    assert_eq!(bench.body().unwrap(), "1");
    bench.assert_closed(CloseReason::ForcedClose);
}

#[test]
fn the_server_closes_and_the_next_get_brings_the_rest() {
    let mut bench = Bench::polling();
    assert_eq!(bench.send("2[\"a\"]"), Sent::Queued);
    bench
        .session
        .close(bench.now, CloseReason::ForcedClose, Flush::Yes);
    bench
        .session
        .close(bench.now, CloseReason::ParseError, Flush::Yes);
    bench.advance(29_999);
    bench.get().unwrap();
    assert_eq!(
        bench.body().unwrap(),
        "42[\"a\"]",
        "never with the close: stock clients would handle that first"
    );
    bench.get().unwrap();
    assert_eq!(bench.body().unwrap(), "6\u{1e}1");
    bench.assert_closed(CloseReason::ForcedClose);

    let mut bench = Bench::polling();
    bench
        .session
        .close(bench.now, CloseReason::ForcedClose, Flush::Yes);
    bench.get().unwrap();
    assert_eq!(
        bench.body().unwrap(),
        "6\u{1e}1",
        "what Node answers when nothing is buffered"
    );
    bench.assert_closed(CloseReason::ForcedClose);
}

#[test]
fn a_closing_session_takes_no_messages_and_gives_up_after_close_timeout() {
    let mut bench = Bench::polling();
    assert_eq!(bench.send("2[\"a\"]"), Sent::Queued);
    bench.config.outbox_age_max = Duration::from_secs(300);
    bench.advance(20_000);
    bench
        .session
        .close(bench.now, CloseReason::ForcedClose, Flush::Yes);
    bench.session.handle_post(bench.now).unwrap();
    assert_eq!(bench.packet(&Packet::Text("late")), Received::Nothing);
    bench.session.handle_post_end();
    bench.advance(29_999);
    assert!(
        !bench.session.is_closed(),
        "the ping deadline does not count while closing"
    );
    bench.advance(1);
    bench.assert_closed(CloseReason::ForcedClose);
}

#[test]
fn the_client_ends_a_closing_session() {
    let mut bench = Bench::polling();
    assert_eq!(bench.send("2[\"a\"]"), Sent::Queued);
    bench
        .session
        .close(bench.now, CloseReason::ForcedClose, Flush::Yes);
    assert_eq!(bench.packet(&Packet::Close), Received::Closed);
    bench.assert_closed(CloseReason::ForcedClose);
}

#[test]
fn a_close_without_flush_drops_everything() {
    for parked in [false, true] {
        let mut bench = Bench::polling();
        if parked {
            bench.get().unwrap();
        }
        assert_eq!(bench.send("2[\"a\"]"), Sent::Queued);
        bench
            .session
            .close(bench.now, CloseReason::ParseError, Flush::No);
        bench.assert_closed(CloseReason::ParseError);
        assert_eq!(bench.body(), parked.then(|| "1".to_owned()));
        bench
            .session
            .close(bench.now, CloseReason::ForcedClose, Flush::No);
        bench.assert_closed(CloseReason::ParseError);
    }
}

#[test]
fn a_closing_session_can_be_cut_short() {
    let mut bench = Bench::websocket();
    assert_eq!(bench.send("2[\"a\"]"), Sent::Queued);
    bench
        .session
        .close(bench.now, CloseReason::ForcedClose, Flush::Yes);
    bench
        .session
        .close(bench.now, CloseReason::ParseError, Flush::No);
    bench.assert_closed(CloseReason::ForcedClose);
}
