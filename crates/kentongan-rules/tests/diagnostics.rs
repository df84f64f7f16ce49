//! What is said about rules files that are wrong, to the letter: place, caret, message and way out.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should fail")]

mod support;

use kentongan_rules::Code;
use support::compile_with;

const POLICY: (&str, &str) = ("p.cedar", "permit (principal, action, resource);");

/// Compiles rules with `[auth] policies` in front, and compares all that is said.
#[track_caller]
fn check(rules: &str, others: &[(&str, &str)], expected: &str) {
    let rules = format!("auth.policies = [\"p.cedar\"]\n{rules}");
    let others = [&[POLICY], others].concat();
    let diagnostics = compile_with(&rules, &others).unwrap_err();
    let texts: Vec<String> = diagnostics.iter().map(ToString::to_string).collect();
    assert_eq!(
        texts.join("\n\n"),
        expected.trim_start_matches('\n'),
        "\n{}",
        texts.join("\n\n")
    );
}

/// Compiles rules and compares the codes with lines only.
#[track_caller]
fn check_codes(rules: &str, others: &[(&str, &str)], expected: &[(&str, usize)]) {
    let rules = format!("auth.policies = [\"p.cedar\"]\n{rules}");
    let others = [&[POLICY], others].concat();
    let diagnostics = compile_with(&rules, &others).err().unwrap_or_default();
    let found: Vec<(&str, usize)> = diagnostics
        .iter()
        .map(|d| (d.code.as_str(), d.line))
        .collect();
    let texts: Vec<String> = diagnostics.iter().map(ToString::to_string).collect();
    assert_eq!(found, expected, "{rules}\n{}", texts.join("\n\n"));
}

/// A valid log feature on three lines, from line 2 on.
const CHAT: &str = "features.chat.kind = \"log\"\nfeatures.chat.room = \"chat/{org}\"\nfeatures.chat.replay = { age = \"7d\" }\n";

#[test]
fn what_is_valid_says_nothing() {
    check_codes(CHAT, &[], &[]);
    check_codes("", &[], &[]);
}

#[test]
fn all_problems_are_said_at_once() {
    check(
        "
[features.chat]
knd    = \"log\"
room   = \"chat/{org}\"
replay = { age = \"7 days\" }
show   = { slow = \"1s\", stale = \"10s\" }
tabs   = 3
",
        &[],
        "
error[missing_setting]: `features.chat.kind` is missing
 --> kentongan.toml:3:11
  |
3 | [features.chat]
  |           ^^^^
  = help: add `kind = \"log\"`

error[unknown_setting]: there is no setting `knd` in `features.chat`
 --> kentongan.toml:4:1
  |
4 | knd    = \"log\"
  | ^^^
  = help: did you mean `kind`?

error[duration]: `features.chat.replay.age` is not a duration
 --> kentongan.toml:6:18
  |
6 | replay = { age = \"7 days\" }
  |                  ^^^^^^^^
  = help: a duration is a whole number with ms, s, m, h or d: \"250ms\", \"7d\"

error[stale_too_short]: `show.stale` is 10s, but a dead line is noticed after 45s at worst
 --> kentongan.toml:7:33
  |
7 | show   = { slow = \"1s\", stale = \"10s\" }
  |                                 ^^^^^
  = help: lengthen `stale` to 45s, or shorten `heartbeat` in `[server]`

error[wrong_type]: `features.chat.tabs` is of type integer
 --> kentongan.toml:8:10
  |
8 | tabs   = 3
  |          ^
  = help: it has to be text in quotes",
    );
}

#[test]
fn a_kind_that_does_not_exist_names_those_that_do() {
    check(
        "features.a = { kind = \"document\", room = \"a\" }",
        &[],
        "
error[unknown_value]: `features.a.kind` cannot be \"document\": there is `log` and `signal`
 --> kentongan.toml:2:23
  |
2 | features.a = { kind = \"document\", room = \"a\" }
  |                       ^^^^^^^^^^
  = help: take one of them",
    );
    check(
        "features.a = { kind = \"singal\", room = \"a\" }",
        &[],
        "
error[unknown_value]: `features.a.kind` cannot be \"singal\": there is `log` and `signal`
 --> kentongan.toml:2:23
  |
2 | features.a = { kind = \"singal\", room = \"a\" }
  |                       ^^^^^^^^
  = help: did you mean `signal`?",
    );
}

#[test]
fn a_secret_is_not_shown() {
    let diagnostics = compile_with("auth.jwt = { secret = \"hunter2hunter2\" }", &[]).unwrap_err();
    let text: Vec<String> = diagnostics.iter().map(ToString::to_string).collect();
    assert!(
        !format!("{diagnostics:?}").contains("hunter2"),
        "{diagnostics:?}"
    );
    assert_eq!(
        text.join("\n"),
        "error[secret_in_file]: `auth.jwt.secret` is not a place
 --> kentongan.toml:1:23
  |
1 |                       …
  |                       ^
  = help: a secret never stands in the rules file: write \"env:NAME\" or \"file:path\""
    );
}

#[test]
fn a_password_in_an_address_is_not_shown() {
    let rules = "server.store = \"redis://:hunter2@10.0.0.1\"";
    let diagnostics = compile_with(rules, &[]).unwrap_err();
    assert_eq!(diagnostics[0].code, Code::SecretInFile);
    assert!(!format!("{diagnostics:?}").contains("hunter2"));
    assert!(compile_with("server.store = \"env:STORE\"", &[]).is_ok());
    assert!(compile_with("server.store = \"rediss://10.0.0.1:6379\"", &[]).is_ok());
}

#[test]
fn a_very_long_line_is_shown_around_its_place() {
    let rules = format!("auth.policies = [{}7]", "\"p.cedar\", ".repeat(100));
    let diagnostics = compile_with(&rules, &[POLICY]).unwrap_err();
    let wrong = diagnostics
        .iter()
        .find(|d| d.code == Code::WrongType)
        .unwrap();
    assert_eq!((wrong.column, wrong.width), (1118, 1));
    let text = wrong.to_string();
    let lines: Vec<&str> = text.lines().collect();
    let caret = lines[4].find('^').unwrap();
    assert_eq!(lines[3].as_bytes()[caret], b'7', "{text}");
    assert!(lines.iter().all(|line| line.len() < 220), "{text}");
}

#[test]
fn a_policy_that_does_not_fit_has_its_line() {
    let policies = "permit (principal, action, resource);\n\npermit (\n    principal,\n    action == Action::\"chat.post\",\n    resource\n)\nwhen { resource.team == \"x\" };\n";
    let rules = format!("auth.policies = [\"q.cedar\"]\n{CHAT}[features.chat.messages.post]\n");
    let diagnostics = compile_with(&rules, &[("q.cedar", policies)]).unwrap_err();
    let texts: Vec<String> = diagnostics.iter().map(ToString::to_string).collect();
    assert_eq!(
        texts.join("\n"),
        "error[policy_types]: attribute `team` on entity type `Room::chat` not found
 --> q.cedar:8:8
  |
8 | when { resource.team == \"x\" };
  |        ^^^^^^^^^^^^^
  = help: did you mean `org`?"
    );
}

#[test]
fn settings() {
    let cases: &[(&str, &[(&str, usize)])] = &[
        ("[features", &[("syntax", 2)]),
        ("a = 1\na = 2", &[("syntax", 3)]),
        ("sever = {}", &[("unknown_setting", 2)]),
        ("server.listen = \"everywhere\"", &[("address", 2)]),
        (
            "server.origins = [\"https://a.example\", \"*\", \"https://b.example/\", 1]",
            &[("address", 2), ("address", 2), ("wrong_type", 2)],
        ),
        ("server.store = \"disk\"", &[("address", 2)]),
        (
            "server.heartbeat = { interval = \"0s\", timeout = \"10m\" }",
            &[("range", 2), ("range", 2)],
        ),
        ("server.message_max = \"1 MB\"", &[("size", 2)]),
        ("auth.jwt = {}", &[("missing_setting", 2)]),
        (
            "auth.jwt = { secret = \"env:A\", jwks = \"https://a\" }",
            &[("missing_setting", 2)],
        ),
        ("auth.jwt = { jwks = \"http://a\" }", &[("address", 2)]),
        (
            "auth.jwt = { secret = \"env:A\", algorithm = \"none\" }",
            &[("unknown_value", 2)],
        ),
        (
            "auth.jwt = { jwks = \"https://a\", algorithm = \"HS256\" }",
            &[("unknown_value", 2)],
        ),
        (
            "auth.claims = { user = \"\", team = \"t\" }",
            &[("name", 2), ("unknown_setting", 2)],
        ),
        ("features.Chat = {}", &[("name", 2)]),
        ("features.in = {}", &[("name", 2)]),
        (
            "features.a = { kind = \"log\", room = \"{org}\", replay = { age = \"1d\" } }",
            &[("pattern", 2)],
        ),
        (
            "features.a = { kind = \"signal\", room = \"a/{user.team}\" }",
            &[("unknown_claim", 2)],
        ),
        (
            "features.a = { kind = \"signal\", room = \"a/{user.org}\" }",
            &[("unknown_claim", 2)],
        ),
        (
            "features.a = { kind = \"signal\", room = \"x/{b}\" }\nfeatures.b = { kind = \"signal\", room = \"x/y\" }",
            &[("shared_room", 3)],
        ),
        (
            "features.a = { kind = \"log\", room = \"a\" }",
            &[("no_window", 2)],
        ),
        (
            "features.a = { kind = \"log\", room = \"a\", replay = {} }",
            &[("no_window", 2)],
        ),
        (
            "features.a = { kind = \"log\", room = \"a\", replay = { messages = 0 } }",
            &[("range", 2)],
        ),
        (
            "features.a = { kind = \"signal\", room = \"a\", replay = { age = \"1d\" } }",
            &[("not_for_kind", 2)],
        ),
        (
            "features.a = { kind = \"signal\", room = \"a\", delay = \"2s\" }",
            &[("order", 2)],
        ),
        (
            "features.a = { kind = \"signal\", room = \"a\", show.offline = \"4s\" }",
            &[("order", 2)],
        ),
        (
            "features.a = { kind = \"signal\", room = \"a\", show.slow = \"2m\" }",
            &[("order", 2)],
        ),
        (
            "server.heartbeat.interval = \"41s\"\nfeatures.a = { kind = \"signal\", room = \"a\" }",
            &[("stale_too_short", 3)],
        ),
    ];
    for (rules, expected) in cases {
        check_codes(rules, &[], expected);
    }
}

#[test]
fn messages() {
    let cases: &[(&str, &[(&str, usize)])] = &[
        ("kind = \"latest\"", &[("unknown_value", 6)]),
        ("rate = { per_second = 0 }", &[("range", 6)]),
        (
            "rate = { burst = 0, per_minute = 1 }",
            &[("range", 6), ("unknown_setting", 6)],
        ),
        ("max = \"1MB\"", &[("over_wire_limit", 6)]),
        ("max = \"998976B\"", &[]),
        ("max = \"998977B\"", &[("over_wire_limit", 6)]),
        ("version = 0", &[("range", 6)]),
        ("from = \"anyone\"", &[("unknown_value", 6)]),
        (
            "older = { 1 = { schema = \"a\", up = \"b\" } }",
            &[("versions", 6)],
        ),
        ("schema = \"none.json\"", &[("file", 6)]),
        ("schema = \"../p.cedar\"", &[("path", 6)]),
        ("schema = \"/etc/passwd\"", &[("path", 6)]),
    ];
    for (setting, expected) in cases {
        check_codes(
            &format!("{CHAT}[features.chat.messages.post]\n{setting}\n"),
            &[],
            expected,
        );
    }
    let signal = "features.a = { kind = \"signal\", room = \"a\", messages.b.kind = \"log\" }";
    check_codes(signal, &[], &[("not_for_kind", 2)]);
    let narrow =
        CHAT.replace("age = \"7d\"", "bytes = \"4KiB\"") + "features.chat.messages.post = {}";
    check_codes(&narrow, &[], &[("order", 5)]);
}

#[test]
fn schemas() {
    let rules = format!("{CHAT}features.chat.messages.post.schema = \"s.json\"");
    let cases: &[(&str, &[(&str, usize)])] = &[
        ("true", &[]),
        ("{", &[("json", 1)]),
        (
            "{\n  \"type\": \"object\",\n  \"type\": \"string\"\n}",
            &[("json", 3)],
        ),
        ("{\n  \"type\": \"strin\"\n}", &[("schema", 2)]),
        (
            "{\n  \"properties\": {\n    \"a\": { \"$ref\": \"https://x.example/y\" }\n  }\n}",
            &[("remote_reference", 3)],
        ),
        ("{ \"$ref\": \"#\" }", &[("schema_work", 1)]),
        ("{\n  \"pattern\":\n    \"(?=x)\"\n}", &[("schema", 3)]),
        (
            "{ \"type\": \"string\",\n  \"examples\": [\n    \"a\",\n    7\n] }",
            &[("example", 4)],
        ),
    ];
    for (schema, expected) in cases {
        check_codes(&rules, &[("s.json", schema)], expected);
    }
    let long = format!("{{ \"examples\": [\"{}\"] }}", "x".repeat(5_000));
    check_codes(&rules, &[("s.json", &long)], &[("example", 1)]);
}

#[test]
fn a_schema_that_does_not_accept_its_own_example() {
    check(
        &format!("{CHAT}features.chat.messages.post.schema = \"s.json\""),
        &[("s.json", "{\n  \"properties\": { \"n\": { \"maximum\": 3 } },\n  \"examples\": [{ \"n\": 1 }, { \"n\": 4 }]\n}")],
        "
error[example]: the schema does not accept its own example 1: value is greater than the maximum of 3 (at `/n`)
 --> s.json:3:35
  |
3 |   \"examples\": [{ \"n\": 1 }, { \"n\": 4 }]
  |                                   ^
  = help: correct the schema or the example",
    );
}

#[test]
fn versions_and_casts() {
    let check_versions = |message: &str, files: &[(&str, &str)], expected: &[(&str, usize)]| {
        let rules =
            format!("{CHAT}[features.chat.messages.post]\nschema = \"2.json\"\n{message}\n");
        let mut all = vec![
            (
                "1.json",
                "{ \"required\": [\"a\"], \"examples\": [{ \"a\": 1 }] }",
            ),
            (
                "2.json",
                "{ \"required\": [\"b\"], \"examples\": [{ \"b\": 1 }] }",
            ),
            (
                "up.json",
                "[{ \"op\": \"move\", \"from\": \"/a\", \"path\": \"/b\" }]",
            ),
            (
                "down.json",
                "[{ \"op\": \"move\", \"from\": \"/b\", \"path\": \"/a\" }]",
            ),
            ("nothing.json", "[]"),
        ];
        all.retain(|(name, _)| files.iter().all(|(other, _)| other != name));
        all.extend_from_slice(files);
        check_codes(&rules, &all, expected);
    };
    let both =
        "version = 2\nolder.1 = { schema = \"1.json\", up = \"up.json\", down = \"down.json\" }";
    check_versions(both, &[], &[]);
    check_versions(both, &[("up.json", "[]")], &[("cast_result", 8)]);
    check_versions(both, &[("down.json", "[]")], &[("cast_result", 8)]);
    check_versions(
        both,
        &[("up.json", "[{\"op\": \"remove\", \"path\": \"/x\"}]")],
        &[("cast_result", 8)],
    );
    check_versions(both, &[("up.json", "{}")], &[("cast", 1)]);
    check_versions(
        both,
        &[("up.json", "[\n{\"op\": \"sing\"}]")],
        &[("cast", 1)],
    );
    check_versions(both, &[("1.json", "{}")], &[("versions", 8)]);
    check_versions(both, &[("2.json", "{}")], &[("versions", 6)]);
    check_versions(
        "older.1 = { schema = \"1.json\", up = \"up.json\" }",
        &[],
        &[("versions", 7)],
    );
    check_versions(
        "version = 3\nolder.1 = { schema = \"1.json\", up = \"up.json\" }",
        &[],
        &[("versions", 8)],
    );
    check_versions(
        "version = 2\nolder.01 = { schema = \"1.json\", up = \"up.json\" }",
        &[],
        &[("versions", 8)],
    );
    check_versions(
        "version = 2\nolder.1 = {}",
        &[],
        &[("missing_setting", 8), ("missing_setting", 8)],
    );
    // Each step is right for its neighbour, and the whole way is wrong for nobody.
    check_versions(
        "version = 3\n[features.chat.messages.post.older]\n1 = { schema = \"1.json\", up = \"up.json\" }\n2 = { schema = \"2.json\", up = \"nothing.json\" }",
        &[],
        &[],
    );
}

#[test]
fn policies() {
    let rules = format!("auth.policies = [\"q.cedar\"]\n{CHAT}features.chat.messages.post = {{}}");
    let cases: &[(&str, &[(&str, usize)])] = &[
        ("permit (principal, action, resource)", &[("policy", 1)]),
        (
            "permit (principal == ?principal, action, resource);",
            &[("policy", 1)],
        ),
        (
            "@id(\"a\") permit (principal, action, resource);\n@id(\"a\") permit (principal, action, resource);",
            &[("policy", 2)],
        ),
        (
            "permit (principal, action == Action::\"chat.pots\", resource);",
            &[("policy_types", 1)],
        ),
        (
            "permit (principal, action == Action::\"join:chat\", resource == Room::\"x\");",
            &[("policy_types", 1)],
        ),
        (
            "permit (principal, action, resource) when { principal.org == \"x\" };",
            &[("policy_types", 1)],
        ),
        (
            "permit (principal, action, resource) when { context.ip == \"x\" };",
            &[("policy_types", 1)],
        ),
        (
            "permit (principal, action, resource) when { resource.org == 7 };",
            &[("policy_types", 1)],
        ),
    ];
    for (policy, expected) in cases {
        let diagnostics = compile_with(&rules, &[("q.cedar", policy)]).unwrap_err();
        let mut found: Vec<(&str, usize)> = diagnostics
            .iter()
            .map(|d| (d.code.as_str(), d.line))
            .collect();
        found.dedup();
        assert_eq!(found, *expected, "{policy}\n{}", diagnostics[0]);
    }
    let nothing = compile_with(CHAT, &[]).unwrap_err();
    assert_eq!(nothing[0].code, Code::NoPolicies);
    let twice = format!("auth.policies = [\"p.cedar\", \"p.cedar\"]\n{CHAT}");
    assert_eq!(
        compile_with(&twice, &[POLICY]).unwrap_err()[0].code,
        Code::File
    );
    let missing = compile_with(&rules, &[]).unwrap_err();
    assert_eq!(missing[0].code, Code::File);
}

#[test]
fn a_rules_file_that_is_not_there() {
    let files = std::collections::BTreeMap::new();
    let diagnostics = kentongan_rules::compile(&files, "kentongan.toml").unwrap_err();
    assert_eq!(diagnostics[0].code, Code::File);
}
