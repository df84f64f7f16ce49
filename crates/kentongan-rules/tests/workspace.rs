//! The example workspace, from file to plan.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should fail")]

mod support;

use std::time::Duration;

use kentongan_rules::{Action, Class, Identity, Refusal, Reply, Rules, Targets, compile, plan};
use support::{Folder, compile_with, root};

fn rules() -> Rules {
    compile(&Folder(root().join("examples/workspace")), "kentongan.toml").unwrap()
}

fn identity(user: &str, roles: &[&str]) -> Identity {
    let roles = roles.iter().map(|role| (*role).to_owned());
    Identity::new(user, "acme", ["apollo".to_owned()], roles).unwrap()
}

const GENERAL: &str = "chat/acme/apollo/general";

#[test]
fn it_can_lie_in_a_folder() {
    let rules = compile(&Folder(root()), "examples/workspace/kentongan.toml").unwrap();
    assert_eq!(rules.features().len(), 3);
}

#[test]
fn a_message_of_a_log_is_kept_first() {
    let rules = rules();
    let raw = "{ \"body\" : \"Good morning\",\"mentions\":[ ] }";
    let grant = rules
        .admit(&identity("anna", &[]), "chat.post", GENERAL, 2, raw)
        .unwrap();
    assert_eq!(grant.data().raw(), raw);
    let plan = plan(&grant);
    assert_eq!(plan.reply, Reply::Position);
    assert!(plan.append);
    assert_eq!(plan.targets, Targets::Room(GENERAL));
    assert_eq!(plan.class, Class::Reliable);
    assert_eq!(plan.hold, Duration::ZERO);
}

#[test]
fn a_signal_is_not_kept() {
    let rules = rules();
    for (event, room, raw) in [
        ("chat.typing", GENERAL, "null"),
        ("board.cursor", "board/acme/apollo", "{\"x\":0,\"y\":1}"),
    ] {
        let grant = rules
            .admit(&identity("anna", &[]), event, room, 1, raw)
            .unwrap();
        let plan = plan(&grant);
        assert_eq!(plan.reply, Reply::Taken);
        assert!(!plan.append);
        assert_eq!(plan.targets, Targets::RoomButSender(room));
        assert_eq!(plan.class, Class::Volatile);
    }
}

#[test]
fn the_backend_may_send_what_clients_may_not() {
    let rules = rules();
    let room = "activity/acme/apollo";
    let raw = "{\"what\":\"closed\",\"by\":\"anna\",\"at\":\"2026-01-02T03:04:05Z\"}";
    let refused = rules.admit(
        &identity("anna", &["admin"]),
        "activity.event",
        room,
        1,
        raw,
    );
    assert_eq!(refused.unwrap_err(), Refusal::Denied);
    let grant = rules.admit_backend("activity.event", room, 1, raw).unwrap();
    assert_eq!(plan(&grant).hold, Duration::from_millis(250));
    let late = raw.replace("2026-01-02T03:04:05Z", "yesterday");
    assert_eq!(
        rules
            .admit_backend("activity.event", room, 1, &late)
            .unwrap_err()
            .code(),
        "schema"
    );
}

#[test]
fn what_is_refused_and_why() {
    let rules = rules();
    let good = "{\"body\":\"a\",\"mentions\":[]}";
    let long = format!("{{\"body\":\"a\",\"mentions\":[]{}}}", " ".repeat(4096));
    for (user, event, room, version, raw, code) in [
        ("anna", "chat.post", GENERAL, 2, good, "ok"),
        ("mallory", "chat.post", GENERAL, 2, good, "denied"),
        (
            "anna",
            "chat.post",
            "chat/umbra/apollo/general",
            2,
            good,
            "denied",
        ),
        (
            "anna",
            "chat.post",
            "chat/acme/apollo/announcements",
            2,
            good,
            "denied",
        ),
        ("anna", "chat.pots", GENERAL, 2, good, "no_message"),
        (
            "anna",
            "board.cursor",
            GENERAL,
            1,
            "{\"x\":0,\"y\":0}",
            "no_message",
        ),
        ("anna", "chat.post", "nowhere", 2, good, "no_room"),
        ("anna", "chat.post", GENERAL, 0, good, "outdated"),
        ("anna", "chat.post", GENERAL, 3, good, "newer"),
        ("anna", "chat.post", GENERAL, 1, good, "schema"),
        ("anna", "chat.post", GENERAL, 2, &long, "too_large"),
        ("anna", "chat.post", GENERAL, 2, "", "not_json"),
        (
            "anna",
            "chat.post",
            GENERAL,
            2,
            "{\"body\":\"a\",\"body\":\"b\",\"mentions\":[]}",
            "duplicate_key",
        ),
        ("anna", "chat.typing", GENERAL, 1, "{}", "schema"),
        ("anna", "chat.typing", GENERAL, 1, "null", "ok"),
    ] {
        let result = rules.admit(&identity(user, &[]), event, room, version, raw);
        let found = result.as_ref().map_or_else(Refusal::code, |_| "ok");
        assert_eq!(found, code, "{user} {event} {room} {version} {raw}");
    }
}

#[test]
fn a_refusal_has_a_path_into_the_data() {
    let rules = rules();
    let raw = "{\"body\":\"a\",\"mentions\":[\"anna\",\"NOT A NAME\"]}";
    let refusal = rules
        .admit(&identity("anna", &[]), "chat.post", GENERAL, 2, raw)
        .unwrap_err();
    let Refusal::Contract(error) = refusal else {
        panic!("{refusal}");
    };
    assert_eq!((error.code(), error.path()), ("schema", "/mentions/1"));
    assert!(!error.to_string().contains("NOT A NAME"), "{error}");
}

#[test]
fn versions_become_each_other() {
    let rules = rules();
    let (_, post) = rules.message("chat.post").unwrap();
    let contract = post.contract();
    let old = contract.check(1, "{\"text\":\"a\"}").unwrap();
    assert_eq!(
        contract.cast(&old, 2).unwrap(),
        "{\"body\":\"a\",\"mentions\":[]}"
    );
    assert_eq!(contract.cast(&old, 1).unwrap(), "{\"text\":\"a\"}");
    assert_eq!(contract.cast(&old, 3).unwrap_err().code(), "newer");
    let new = contract
        .check(2, "{\"mentions\":[\"ben\"],\"body\":\"b\"}")
        .unwrap();
    assert_eq!(contract.cast(&new, 1).unwrap(), "{\"text\":\"b\"}");
    assert!(contract.has_way(1, 2) && contract.has_way(2, 1) && !contract.has_way(2, 3));
}

#[test]
fn decisions_name_their_policies() {
    let rules = rules();
    let general = rules.room(GENERAL).unwrap();
    let decide = |user: &str, roles: &[&str], action| {
        let decision = rules.authorize(&identity(user, roles), action, &general);
        let policies: Vec<String> = decision.policies().map(str::to_owned).collect();
        (decision.allowed, policies)
    };
    let named = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
    let permitted = (true, named(&["chat-admins-look", "chat-members"]));
    assert_eq!(decide("anna", &["admin"], Action::Join), permitted);
    let forbidden = (false, named(&["chat-guests-read"]));
    assert_eq!(decide("anna", &["guest"], Action::Send("post")), forbidden);
    assert_eq!(
        decide("mallory", &[], Action::Join),
        (false, named(&["suspended"]))
    );
    assert_eq!(
        decide("anna", &[], Action::Send("nothing")),
        (false, Vec::new())
    );
}

/// Rules with one feature whose rooms belong to users, and the given policies.
fn personal(policies: &str) -> Rules {
    let rules = "auth = { policies = [\"p.cedar\"], claims.roles = \"roles\" }\nfeatures.note = { kind = \"signal\", room = \"note/{owner}\" }";
    compile_with(rules, &[("p.cedar", policies)]).unwrap()
}

#[test]
fn decisions_about_one_user_are_not_those_about_another() {
    let rules =
        personal("permit (principal, action, resource) when { principal.id == resource.owner };");
    let room = rules.room("note/anna").unwrap();
    for _ in 0..2 {
        assert!(
            rules
                .authorize(&identity("anna", &[]), Action::Join, &room)
                .allowed
        );
        assert!(
            !rules
                .authorize(&identity("ben", &[]), Action::Join, &room)
                .allowed
        );
    }
    assert_eq!(rules.policies().remembered(), 2);
}

#[test]
fn users_with_the_same_roles_share_a_decision() {
    let rules = personal(
        "permit (principal, action, resource) when { principal.roles.contains(\"reader\") };",
    );
    let room = rules.room("note/anna").unwrap();
    for user in ["anna", "ben", "carla"] {
        assert!(
            rules
                .authorize(&identity(user, &["reader"]), Action::Join, &room)
                .allowed
        );
    }
    assert_eq!(rules.policies().remembered(), 1);
    assert!(
        !rules
            .authorize(&identity("anna", &[]), Action::Join, &room)
            .allowed
    );
}

#[test]
fn a_policy_that_cannot_be_evaluated_refuses() {
    // Cedar skips a policy with an error. Skipping this one would permit.
    let rules = personal(
        "permit (principal, action, resource);\nforbid (principal, action, resource) when { 9223372036854775807 + 1 == 0 };",
    );
    let room = rules.room("note/anna").unwrap();
    assert!(
        !rules
            .authorize(&identity("anna", &[]), Action::Join, &room)
            .allowed
    );
}

#[test]
fn a_field_bound_to_a_claim_is_the_users_own() {
    let rules = rules();
    let anna = identity("anna", &[]);
    let stranger = Identity::new("zoe", "umbra", ["apollo".to_owned()], []).unwrap();
    let board = rules.room("board/acme/apollo").unwrap();
    assert!(rules.authorize(&anna, Action::Join, &board).allowed);
    // The policy asks for the project only.
    assert!(!rules.authorize(&stranger, Action::Join, &board).allowed);
}

#[test]
fn the_promises_in_words() {
    assert_eq!(
        rules().describe(),
        "\
chat (log), rooms chat/{org}/{project}/{topic}
  - Everyone in a room gets its messages in one order.
  - A message that was acknowledged is not lost. Of each room the last 1000 messages can be had again, none older than 7d, at most 4MiB.
  - Who comes back gets what was missed, or is told that there is a gap.
  - Who is too slow is paused and catches up from the log.
  - The user is told: slow after 1s, reconnecting after 4s, offline after 30s, stale after 1m.
  - Each tab is on its own.
  - Who is here is known; who is cut off counts as here for 15s.
  - chat.post: from clients and the backend, version 2 (understood from 1 on), at most 4KiB, 5 a second from one user, 10 at once.
  - chat.typing: a signal, from clients and the backend, without data, 1 a second from one user, 2 at once.

activity (log), rooms activity/{user.org}/{project}
  - Everyone in a room gets its messages in one order.
  - A message that was acknowledged is not lost. Of each room the last 1000 messages can be had again, none older than 30d, at most 4MiB.
  - Who comes back gets what was missed, or is told that there is a gap.
  - Who is too slow is paused and catches up from the log.
  - A message may be held for 250ms, to go out with others.
  - The user is told: slow after 1s, reconnecting after 4s, offline after 30s, stale after 1m.
  - Each tab is on its own.
  - activity.event: from the backend only, version 1, at most 4KiB.

board (signal), rooms board/{user.org}/{project}
  - Messages come at once or not at all, in no certain order; nothing is kept.
  - Who is too slow misses messages.
  - The user is told: slow after 500ms, reconnecting after 3s, offline after 15s, stale after 1m.
  - One tab leads, the others follow.
  - board.cursor: from clients and the backend, version 1, at most 256B, 30 a second from one user, 60 at once.

A dead line is noticed after 45s at worst. 6 policies decide who may do what; what none of them permits is refused.
"
    );
}
