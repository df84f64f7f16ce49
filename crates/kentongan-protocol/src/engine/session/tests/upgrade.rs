//! From polling to a WebSocket: the probe, the switch, and everything that may go wrong between.

use super::*;

const PROBE: Packet<'static> = Packet::Ping("probe");

#[test]
fn the_documented_upgrade() {
    let mut bench = Bench::polling();
    bench.get().unwrap();
    let id = bench.probe().unwrap();
    assert_eq!(
        bench.body(),
        None,
        "an open WebSocket alone changes nothing"
    );
    assert_eq!(bench.probe_packet(id, &PROBE), ProbeStep::ReplyPong);
    assert_eq!(
        bench.body().unwrap(),
        "6",
        "the parked GET is answered at once"
    );
    for _ in 0..3 {
        bench.get().unwrap();
        assert_eq!(
            bench.body().unwrap(),
            "6",
            "so is every other one until `5`"
        );
    }
    assert_eq!(bench.send("2[\"a\"]"), Sent::Queued);
    assert_eq!(
        bench.session.poll_transmit().map(|frame| frame.len()),
        None,
        "nothing before `5`"
    );
    assert_eq!(bench.send("2[\"b\"]"), Sent::Queued);
    assert_eq!(
        bench.probe_packet(id, &Packet::Upgrade),
        ProbeStep::Upgraded
    );
    assert_eq!(bench.session.transport(), Transport::WebSocket);
    assert_eq!(bench.send("2[\"c\"]"), Sent::Queued);
    assert_eq!(bench.transmit(), ["42[\"a\"]", "42[\"b\"]", "42[\"c\"]"]);
    assert_eq!(bench.get(), Err(RequestError::Mismatch));
    assert_eq!(
        bench.session.handle_post(bench.now),
        Err(RequestError::Mismatch)
    );
    assert_eq!(bench.probe(), Err(RequestError::Mismatch));
    assert!(bench.session.is_open());
}

#[test]
fn data_goes_on_a_get_during_the_probe() {
    let mut bench = Bench::polling();
    let id = bench.probe().unwrap();
    assert_eq!(bench.probe_packet(id, &PROBE), ProbeStep::ReplyPong);
    assert_eq!(bench.send("2[\"a\"]"), Sent::Queued);
    bench.get().unwrap();
    assert_eq!(bench.body().unwrap(), "42[\"a\"]");
    assert_eq!(bench.send("2[\"b\"]"), Sent::Queued);
    assert_eq!(
        bench.probe_packet(id, &Packet::Upgrade),
        ProbeStep::Upgraded
    );
    assert_eq!(bench.transmit(), ["42[\"b\"]"]);
}

#[test]
fn posts_are_accepted_while_probing_and_a_running_one_to_its_end() {
    let mut bench = Bench::polling();
    let id = bench.probe().unwrap();
    assert_eq!(bench.probe_packet(id, &PROBE), ProbeStep::ReplyPong);
    bench.session.handle_post(bench.now).unwrap();
    assert_eq!(bench.packet(&Packet::Text("a")), Received::Message);
    assert_eq!(
        bench.probe_packet(id, &Packet::Upgrade),
        ProbeStep::Upgraded
    );
    let from = Transport::Polling;
    assert_eq!(
        bench
            .session
            .handle_packet(&bench.config, bench.now, from, &Packet::Text("b")),
        Received::Message
    );
    bench.session.handle_post_end();
    assert_eq!(
        bench
            .session
            .handle_packet(&bench.config, bench.now, from, &Packet::Text("c")),
        Received::Nothing
    );
    assert_eq!(bench.packet(&Packet::Text("d")), Received::Message);
}

#[test]
fn an_upgrade_without_a_probe_is_accepted() {
    let mut bench = Bench::polling();
    bench.get().unwrap();
    let id = bench.probe().unwrap();
    assert_eq!(
        bench.probe_packet(id, &Packet::Upgrade),
        ProbeStep::Upgraded
    );
    assert_eq!(bench.send("2[\"a\"]"), Sent::Queued);
    assert_eq!(
        bench.body().unwrap(),
        "6",
        "the parked GET is released, without data"
    );
    assert_eq!(bench.transmit(), ["42[\"a\"]"]);
}

#[test]
fn a_lost_probe_leaves_polling_intact() {
    let wrong = [
        Packet::Open(""),
        Packet::Close,
        Packet::Ping(""),
        Packet::Ping("Probe"),
        Packet::Pong("probe"),
        Packet::Text("x"),
        Packet::Binary(b"x".as_slice().into()),
        Packet::Noop,
    ];
    for packet in wrong {
        for probed_before in [false, true] {
            let mut bench = Bench::polling();
            let id = bench.probe().unwrap();
            if probed_before {
                assert_eq!(bench.probe_packet(id, &PROBE), ProbeStep::ReplyPong);
            }
            assert_eq!(bench.probe_packet(id, &packet), ProbeStep::Reject);
            assert!(!bench.session.is_probe_open(id));
            assert_eq!(
                bench.probe_packet(id, &Packet::Upgrade),
                ProbeStep::Reject,
                "it had its chance"
            );
            polling_works(&mut bench);
        }
    }
}

#[test]
fn a_killed_or_silent_probe_leaves_polling_intact() {
    let mut bench = Bench::polling();
    let id = bench.probe().unwrap();
    assert_eq!(bench.probe_packet(id, &PROBE), ProbeStep::ReplyPong);
    bench.session.handle_probe_closed(bench.now, id);
    polling_works(&mut bench);

    let mut bench = Bench::polling();
    let id = bench.probe().unwrap();
    assert_eq!(
        bench.session.probe_deadline(id),
        bench.session.poll_timeout(&bench.config)
    );
    bench.advance(9_999);
    assert!(bench.session.is_probe_open(id));
    bench.advance(1);
    assert!(!bench.session.is_probe_open(id));
    polling_works(&mut bench);
}

#[test]
fn several_probes_have_one_winner() {
    let mut bench = Bench::polling();
    let ids = [
        bench.probe().unwrap(),
        bench.probe().unwrap(),
        bench.probe().unwrap(),
    ];
    assert_eq!(bench.probe(), Err(RequestError::ProbesFull));
    for id in ids {
        assert_eq!(bench.probe_packet(id, &PROBE), ProbeStep::ReplyPong);
    }
    let [first, second, third] = ids;
    assert_eq!(
        bench.probe_packet(second, &Packet::Upgrade),
        ProbeStep::Upgraded
    );
    for id in [first, third] {
        assert!(!bench.session.is_probe_open(id));
        assert_eq!(bench.probe_packet(id, &Packet::Upgrade), ProbeStep::Reject);
    }
    bench.session.handle_probe_closed(bench.now, first);
    assert_eq!(bench.send("2[\"a\"]"), Sent::Queued);
    assert_eq!(bench.transmit(), ["42[\"a\"]"]);
}

#[test]
fn probes_come_back_after_others_are_gone() {
    let mut bench = Bench::polling();
    for _ in 0..1000 {
        let id = bench.probe().unwrap();
        bench.session.handle_probe_closed(bench.now, id);
    }
    assert!(bench.session.probes.is_unallocated());
    bench.config.allow_upgrades = false;
    assert_eq!(bench.probe(), Err(RequestError::UpgradesDisabled));
}

#[test]
fn noops_stop_when_the_probed_socket_is_gone() {
    let mut bench = Bench::polling();
    let quiet = bench.probe().unwrap();
    let probed = bench.probe().unwrap();
    assert_eq!(bench.probe_packet(probed, &PROBE), ProbeStep::ReplyPong);
    bench.session.handle_probe_closed(bench.now, probed);
    bench.get().unwrap();
    assert_eq!(bench.body(), None);
    assert!(bench.session.is_probe_open(quiet));
}

#[test]
fn a_session_that_closes_takes_its_probes_along() {
    let mut bench = Bench::polling();
    let id = bench.probe().unwrap();
    bench
        .session
        .close(bench.now, CloseReason::ForcedClose, Flush::No);
    assert!(!bench.session.is_probe_open(id));
    assert_eq!(bench.probe_packet(id, &Packet::Upgrade), ProbeStep::Reject);
    assert_eq!(bench.probe(), Err(RequestError::Unknown));
    bench.assert_closed(CloseReason::ForcedClose);
}

#[test]
fn a_closing_session_flushes_on_the_websocket_that_wins() {
    let mut bench = Bench::polling();
    let id = bench.probe().unwrap();
    assert_eq!(bench.probe_packet(id, &PROBE), ProbeStep::ReplyPong);
    assert_eq!(bench.send("2[\"a\"]"), Sent::Queued);
    bench
        .session
        .close(bench.now, CloseReason::ForcedClose, Flush::Yes);
    assert_eq!(bench.probe(), Err(RequestError::Unknown), "no new probe");
    assert_eq!(
        bench.probe_packet(id, &Packet::Upgrade),
        ProbeStep::Upgraded
    );
    assert!(!bench.session.is_closed());
    assert_eq!(bench.transmit(), ["42[\"a\"]"]);
    bench.assert_closed(CloseReason::ForcedClose);

    let mut bench = Bench::polling();
    let id = bench.probe().unwrap();
    bench
        .session
        .close(bench.now, CloseReason::ForcedClose, Flush::Yes);
    assert_eq!(
        bench.probe_packet(id, &Packet::Upgrade),
        ProbeStep::Upgraded
    );
    bench.assert_closed(CloseReason::ForcedClose);
}

#[test]
fn a_closing_session_answers_a_get_during_the_probe_with_the_close() {
    let mut bench = Bench::polling();
    let id = bench.probe().unwrap();
    assert_eq!(bench.probe_packet(id, &PROBE), ProbeStep::ReplyPong);
    assert_eq!(bench.send("2[\"a\"]"), Sent::Queued);
    bench
        .session
        .close(bench.now, CloseReason::ForcedClose, Flush::Yes);
    bench.get().unwrap();
    assert_eq!(bench.body().unwrap(), "42[\"a\"]");
    bench.get().unwrap();
    assert_eq!(bench.body().unwrap(), "6\u{1e}1");
    bench.assert_closed(CloseReason::ForcedClose);
    assert!(!bench.session.is_probe_open(id));
}

fn polling_works(bench: &mut Bench) {
    assert!(bench.session.is_open());
    assert_eq!(bench.session.transport(), Transport::Polling);
    bench.get().unwrap();
    assert_eq!(bench.body(), None);
    assert_eq!(bench.send("2[\"still here\"]"), Sent::Queued);
    assert_eq!(bench.body().unwrap(), "42[\"still here\"]");
    bench.session.handle_post(bench.now).unwrap();
    assert_eq!(bench.packet(&Packet::Text("x")), Received::Message);
    bench.session.handle_post_end();
}
