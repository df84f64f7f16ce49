//! The connection table: every packet in every state, bounds and deadlines.

use super::*;

fn ns(name: &'static str) -> ByteString {
    ByteString::from_static(name)
}

#[derive(Debug, Clone, Copy)]
enum Given {
    Nothing,
    Connecting,
    Connected,
    Refused,
    LeftByClient,
    LeftByServer,
    LeftByServerWhileConnecting,
}

fn table(given: Given) -> Connections {
    let limits = Limits::default();
    let mut table = Connections::new(Instant::now());
    if matches!(given, Given::Nothing) {
        return table;
    }
    assert_eq!(
        table.handle(PacketKind::Connect, &ns("/"), &limits),
        Decision::Connect
    );
    match given {
        Given::Nothing | Given::Connecting => {}
        Given::Refused => assert!(table.refuse("/")),
        Given::LeftByServerWhileConnecting => assert!(table.disconnect("/", &limits)),
        Given::Connected | Given::LeftByClient | Given::LeftByServer => assert!(table.accept("/")),
    }
    match given {
        Given::LeftByClient => {
            assert_eq!(
                table.handle(PacketKind::Disconnect, &ns("/"), &limits),
                Decision::Disconnect
            );
        }
        Given::LeftByServer => assert!(table.disconnect("/", &limits)),
        _ => {}
    }
    table
}

fn check(given: Given, kind: PacketKind, expected: Decision) {
    let decision = table(given).handle(kind, &ns("/"), &Limits::default());
    assert_eq!(decision, expected, "{kind:?} when {given:?}");
}

#[test]
fn every_packet_in_every_state() {
    use Decision::{Connect, Deliver, Disconnect, Ignore, Violation};
    use ViolationCode::{ConnectErrorFromClient, ConnectTwice, NotConnected};
    const KINDS: [PacketKind; 5] = [
        PacketKind::Connect,
        PacketKind::Event,
        PacketKind::Ack,
        PacketKind::Disconnect,
        PacketKind::ConnectError,
    ];
    let absent = [
        Connect,
        Violation(NotConnected),
        Violation(NotConnected),
        Violation(NotConnected),
        Violation(ConnectErrorFromClient),
    ];
    let rows = [
        (Given::Nothing, absent),
        (
            Given::Connecting,
            [
                Violation(ConnectTwice),
                Violation(NotConnected),
                Violation(NotConnected),
                Violation(NotConnected),
                Violation(ConnectErrorFromClient),
            ],
        ),
        (
            Given::Connected,
            [
                Violation(ConnectTwice),
                Deliver,
                Deliver,
                Disconnect,
                Violation(ConnectErrorFromClient),
            ],
        ),
        (Given::Refused, absent),
        (Given::LeftByClient, absent),
        (
            Given::LeftByServer,
            [
                Connect,
                Ignore,
                Ignore,
                Ignore,
                Violation(ConnectErrorFromClient),
            ],
        ),
        (Given::LeftByServerWhileConnecting, absent),
    ];
    for (given, expected) in rows {
        for (kind, expected) in KINDS.into_iter().zip(expected) {
            check(given, kind, expected);
        }
    }
}

#[test]
fn namespaces_are_apart() {
    let limits = Limits::default();
    let mut table = table(Given::Connected);
    assert_eq!(
        table.handle(PacketKind::Event, &ns("/admin"), &limits),
        Decision::Violation(ViolationCode::NotConnected)
    );
    assert_eq!(
        table.handle(PacketKind::Connect, &ns("/admin"), &limits),
        Decision::Connect
    );
    assert!(table.accept("/admin"));
    assert!(table.is_connected("/") && table.is_connected("/admin"));
    assert_eq!(
        table
            .connected()
            .map(|ns| ns.to_string())
            .collect::<Vec<_>>(),
        ["/", "/admin"]
    );
}

#[test]
fn both_sides_leave_then_the_client_returns() {
    let limits = Limits::default();
    let mut table = table(Given::LeftByServer);
    assert_eq!(
        table.handle(PacketKind::Event, &ns("/"), &limits),
        Decision::Ignore
    );
    assert_eq!(
        table.handle(PacketKind::Disconnect, &ns("/"), &limits),
        Decision::Ignore
    );
    assert_eq!(
        table.handle(PacketKind::Event, &ns("/"), &limits),
        Decision::Violation(ViolationCode::NotConnected),
        "nothing may follow the client's own DISCONNECT"
    );
    assert_eq!(
        table.handle(PacketKind::Connect, &ns("/"), &limits),
        Decision::Connect
    );
    assert!(table.accept("/"));
    assert_eq!(
        table.handle(PacketKind::Event, &ns("/"), &limits),
        Decision::Deliver
    );
}

#[test]
fn late_reports_of_the_middleware_change_nothing() {
    let mut table = table(Given::LeftByServerWhileConnecting);
    assert!(!table.accept("/"));
    assert!(!table.refuse("/"));
    assert!(!table.disconnect("/", &Limits::default()));
    let mut table = self::table(Given::Connected);
    assert!(
        !table.refuse("/"),
        "a connected namespace cannot be refused"
    );
    assert!(table.is_connected("/"));
}

#[test]
fn namespaces_max_refuses_without_remembering() {
    let limits = Limits {
        namespaces_max: 2,
        ..Limits::default()
    };
    let mut table = Connections::new(Instant::now());
    assert_eq!(
        table.handle(PacketKind::Connect, &ns("/a"), &limits),
        Decision::Connect
    );
    assert_eq!(
        table.handle(PacketKind::Connect, &ns("/b"), &limits),
        Decision::Connect
    );
    for _ in 0..1000 {
        assert_eq!(
            table.handle(PacketKind::Connect, &ns("/c"), &limits),
            Decision::Refuse
        );
    }
    assert_eq!(table.entries.len(), 2);
    assert!(table.refuse("/a"));
    assert_eq!(
        table.handle(PacketKind::Connect, &ns("/c"), &limits),
        Decision::Connect
    );
}

#[test]
fn memory_of_left_namespaces_is_bounded_and_freed() {
    let limits = Limits {
        namespaces_max: 2,
        ..Limits::default()
    };
    let mut table = Connections::new(Instant::now());
    for index in 0..100 {
        let name = ByteString::from(format!("/{index}"));
        assert_eq!(
            table.handle(PacketKind::Connect, &name, &limits),
            Decision::Connect
        );
        assert!(table.accept(&name));
        assert!(table.disconnect(&name, &limits));
        assert!(table.left.len() <= 2);
    }
    assert_eq!(
        table.handle(PacketKind::Event, &ns("/99"), &limits),
        Decision::Ignore
    );
    assert_eq!(
        table.handle(PacketKind::Event, &ns("/97"), &limits),
        Decision::Violation(ViolationCode::NotConnected)
    );
    for name in ["/98", "/99"] {
        assert_eq!(
            table.handle(PacketKind::Disconnect, &ns(name), &limits),
            Decision::Ignore
        );
    }
    assert_eq!(table.left.capacity(), 0);
}

#[test]
fn connect_deadline_runs_once_and_only_until_the_first_namespace() {
    let config = ConnectionConfig::default();
    let limits = Limits::default();
    let start = Instant::now();
    let mut table = Connections::new(start);
    let due = start + config.connect_timeout;
    assert_eq!(table.poll_timeout(&config), Some(due));
    assert_eq!(
        table.handle(PacketKind::Connect, &ns("/"), &limits),
        Decision::Connect
    );
    assert_eq!(
        table.poll_timeout(&config),
        Some(due),
        "connecting is not connected"
    );
    assert!(table.refuse("/"));
    assert_eq!(
        table.handle_timeout(&config, due - Duration::from_nanos(1)),
        None
    );
    assert_eq!(
        table.handle_timeout(&config, due),
        Some(ViolationCode::ConnectTimeout)
    );
    assert_eq!(table.poll_timeout(&config), None);

    let mut table = Connections::new(start);
    assert_eq!(
        table.handle(PacketKind::Connect, &ns("/"), &limits),
        Decision::Connect
    );
    assert!(table.accept("/"));
    assert_eq!(
        table.handle(PacketKind::Disconnect, &ns("/"), &limits),
        Decision::Disconnect
    );
    assert_eq!(
        table.poll_timeout(&config),
        None,
        "not re-armed when the last namespace goes"
    );
}

#[test]
fn attachment_deadline_runs_from_the_header() {
    let config = ConnectionConfig::default();
    let start = Instant::now();
    let mut table = table(Given::Connected);
    table.set_attachments_pending(start, true);
    table.set_attachments_pending(start + Duration::from_secs(9), true);
    assert_eq!(
        table.poll_timeout(&config),
        Some(start + config.attachment_timeout)
    );
    table.set_attachments_pending(start + Duration::from_secs(9), false);
    assert_eq!(table.poll_timeout(&config), None);
    table.set_attachments_pending(start, true);
    let due = start + config.attachment_timeout;
    assert_eq!(
        table.handle_timeout(&config, due),
        Some(ViolationCode::AttachmentTimeout)
    );
    assert_eq!(table.handle_timeout(&config, due), None);
}

#[test]
fn the_table_is_small() {
    assert!(
        size_of::<Connections>() <= 96,
        "{}",
        size_of::<Connections>()
    );
}
