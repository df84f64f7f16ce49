//! Tables for the packet decoder: grammar, limits at their edges, and the published attacks on it.

use super::*;
use crate::limits::DEPTH_CEILING;
use crate::socket::packet::RESERVED_EVENTS;

/// A packet in one line: `Event ns id name args`.
fn show(packet: &Packet) -> String {
    let id = |id: &Option<u64>| id.map_or("-".to_owned(), |id| id.to_string());
    let json = |args: &Args| args.json().unwrap().to_owned();
    match packet {
        Packet::Connect { ns, auth } => {
            format!("Connect {ns} {}", auth.as_ref().map_or("-".into(), json))
        }
        Packet::Disconnect { ns } => format!("Disconnect {ns}"),
        Packet::Event {
            ns,
            id: i,
            name,
            args,
        } => {
            format!("Event {ns} {} {name} {}:{}", id(i), args.len(), json(args))
        }
        Packet::Ack { ns, id, args } => format!("Ack {ns} {id} {}:{}", args.len(), json(args)),
        Packet::ConnectError { ns, data } => format!("ConnectError {ns} {}", json(data)),
    }
}

fn decode_with(limits: &Limits, text: &str) -> Result<String, &'static str> {
    let mut decoder = Decoder::new(Parser::Json);
    match decoder.handle_text(text, limits) {
        Ok(Some(packet)) => Ok(show(&packet)),
        Ok(None) => Ok("pending".to_owned()),
        Err(error) => Err(error.code()),
    }
}

fn check(text: &str, expected: Result<&str, &'static str>) {
    let decoded = decode_with(&Limits::default(), text);
    assert_eq!(decoded.as_deref().map_err(|code| *code), expected, "{text}");
}

#[test]
fn decodes_every_type() {
    for (text, expected) in [
        ("0", "Connect / -"),
        ("0/a", "Connect /a -"),
        ("0/a,", "Connect /a -"),
        ("0{}", "Connect / {}"),
        ("0/a,{\"token\":1}", "Connect /a {\"token\":1}"),
        ("0/a?x=1,", "Connect /a?x=1 -"),
        ("1", "Disconnect /"),
        ("1/a,", "Disconnect /a"),
        ("2[\"x\"]", "Event / - x 0:"),
        ("2", "Event / -  0:"),
        ("2[\"\"]", "Event / -  0:"),
        ("2/admin,13[\"x\",1,[2]]", "Event /admin 13 x 2:1,[2]"),
        ("2007[\"x\"]", "Event / 7 x 0:"),
        (
            "218446744073709551615[\"x\"]",
            "Event / 18446744073709551615 x 0:",
        ),
        ("2[ \"x\" , 1 ] ", "Event / - x 1:1 "),
        ("2[5,6]", "Event / - 5 1:6"),
        ("2[-1.5e3]", "Event / - -1.5e3 0:"),
        ("2[\"a\\u0062\\n\",1]", "Event / - ab\n 1:1"),
        ("2[\"x\",1e400,-0]", "Event / - x 2:1e400,-0"),
        ("2[\"x\",\"\\ud800\"]", "Event / - x 1:\"\\ud800\""),
        ("2[\"error\"]", "Event / - error 0:"),
        ("2[\"__proto__\"]", "Event / - __proto__ 0:"),
        ("3/admin,13[\"bar\"]", "Ack /admin 13 1:\"bar\""),
        ("30[]", "Ack / 0 0:"),
        ("30[ ]", "Ack / 0 0:"),
        ("4{\"message\":\"m\"}", "ConnectError / {\"message\":\"m\"}"),
        ("4/a,\"m\"", "ConnectError /a \"m\""),
        ("51-[\"x\",{\"_placeholder\":true,\"num\":0}]", "pending"),
        ("510-/a,3[\"x\"]", "pending"),
        ("61-7[]", "pending"),
    ] {
        check(text, Ok(expected));
    }
}

#[test]
fn refuses_what_is_no_packet() {
    for (text, code) in [
        ("", "packet_empty"),
        ("7", "packet_type"),
        ("é", "packet_type"),
        ("0[]", "payload"),
        ("0\"x\"", "payload"),
        ("0null", "payload"),
        ("0{", "json"),
        ("0{}x", "trailing_data"),
        ("1{}", "payload"),
        ("2{}", "payload"),
        ("2\"x\"", "payload"),
        ("2[]", "payload"),
        ("2 [\"x\"]", "payload"),
        ("2[\"x\"]]", "trailing_data"),
        ("2[\"x\"][\"y\"]", "trailing_data"),
        ("299999999999999999999[\"x\"]", "packet_id"),
        ("2000000000000000000001[\"x\"]", "packet_id"),
        ("3[]", "ack_without_id"),
        ("31", "payload"),
        ("31{}", "payload"),
        ("4", "payload"),
        ("41[]", "payload"),
        ("2/a\u{1},[\"x\"]", "namespace"),
        ("51-", "payload"),
        ("2[\"\\ud800\"]", "json"),
    ] {
        check(text, Err(code));
    }
}

#[test]
fn checks_the_json_grammar() {
    for valid in [
        "0",
        "-0",
        "10",
        "1.5",
        "1e5",
        "1E+5",
        "1e-5",
        "true",
        "false",
        "null",
        "\"\"",
        "\"é€\"",
        "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9\"",
        "[]",
        "[ ]",
        "{ }",
        "{\"a\" : 1 , \"b\":[]}",
        "[\n1\t,\r2 ]",
        "{\"\":0}",
        "\"\u{7f}\"",
        "\"\\u0000\"",
    ] {
        assert!(
            serde_json::from_str::<serde_json::Value>(valid).is_ok(),
            "{valid}"
        );
        check(
            &format!("2[\"x\",{valid}]"),
            Ok(&format!("Event / - x 1:{valid}")),
        );
    }
    for invalid in [
        "",
        "01",
        "-",
        "+1",
        ".5",
        "1.",
        "1e",
        "1e+",
        "0x1",
        "NaN",
        "Infinity",
        "tru",
        "nul",
        "True",
        "'a'",
        "\"",
        "\"\\x\"",
        "\"\\u12\"",
        "\"\\u12g4\"",
        "\"\n\"",
        "\"\t\"",
        "\"\0\"",
        "[",
        "[1",
        "[1,",
        "[1,]",
        "[,1]",
        "{",
        "{\"a\"",
        "{\"a\":",
        "{\"a\":1",
        "{\"a\":1,",
        "{\"a\":1,}",
        "{a:1}",
        "{1:1}",
        "{\"a\" 1}",
        "{,}",
        "1 2",
        "\u{feff}1",
        "\u{a0}1",
        "/**/1",
        "1,",
        "[1}",
        "{\"a\":1]",
    ] {
        let text = format!("2[\"x\",{invalid}]");
        assert!(
            serde_json::from_str::<serde_json::Value>(&text[1..]).is_err(),
            "{invalid}"
        );
        assert_eq!(
            decode_with(&Limits::default(), &text),
            Err("json"),
            "{invalid}"
        );
    }
    for cut in ["[\"x\"", "[\"x\",", "[\"x", "[", "[\"x\",{\"a\":[1"] {
        check(&format!("2{cut}"), Err("json"));
    }
}

#[test]
fn duplicate_keys_are_refused() {
    for json in [
        "{\"a\":1,\"a\":2}",
        "{\"a\":1,\"b\":{},\"a\":2}",
        "{\"a\":1,\"\\u0061\":2}",
        "[{\"b\":{\"a\":1,\"a\":1}}]",
        "{\"0\":0,\"1\":0,\"2\":0,\"3\":0,\"4\":0,\"5\":0,\"6\":0,\"7\":0,\"8\":0,\"9\":0,\"0\":0}",
    ] {
        check(&format!("2[\"x\",{json}]"), Err("duplicate_key"));
    }
    for json in [
        "{\"a\":{\"a\":1},\"b\":{\"a\":1}}",
        "[{\"a\":1},{\"a\":1}]",
        "{\"0\":0,\"1\":0,\"2\":0,\"3\":0,\"4\":0,\"5\":0,\"6\":0,\"7\":0,\"8\":{\"0\":0},\"9\":0}",
    ] {
        check(
            &format!("2[\"x\",{json}]"),
            Ok(&format!("Event / - x 1:{json}")),
        );
    }
    check("2[\"x\",{\"\\ud800\":1}]", Err("object_key"));
}

/// `make(n)` is accepted up to `limit` and refused with `code` above.
fn check_limit(limits: &Limits, limit: usize, code: &'static str, make: impl Fn(usize) -> String) {
    for (size, expected) in [(limit - 1, None), (limit, None), (limit + 1, Some(code))] {
        assert_eq!(
            decode_with(limits, &make(size)).err(),
            expected,
            "{code} at {size}"
        );
    }
}

#[test]
fn limits_are_inclusive() {
    let limits = Limits {
        message_bytes_max: 100_000,
        object_keys_max: 20,
        ..Limits::default()
    };
    let repeat = |text: &str, times: usize| text.repeat(times);
    check_limit(&limits, 100_000, "packet_too_large", |n| {
        format!("2[\"x\",\"{}\"]", repeat("a", n - 9))
    });
    check_limit(&limits, 128, "namespace_too_long", |n| {
        format!("0/{},", repeat("n", n - 1))
    });
    check_limit(&limits, 256, "event_name_too_long", |n| {
        format!("2[\"{}\"]", repeat("e", n))
    });
    check_limit(&limits, 256, "event_name_too_long", |n| {
        format!("2[{}]", repeat("1", n))
    });
    check_limit(&limits, 64, "too_deep", |n| {
        format!("2[\"x\",{}{}]", repeat("[", n - 1), repeat("]", n - 1))
    });
    check_limit(&limits, 64, "too_deep", |n| {
        format!(
            "2[\"x\",{}1{}]",
            repeat("{\"a\":", n - 1),
            repeat("}", n - 1)
        )
    });
    check_limit(&limits, 20, "too_many_keys", |n| {
        let keys: Vec<_> = (0..n).map(|key| format!("\"k{key}\":0")).collect();
        format!("0{{{}}}", keys.join(","))
    });
    let boundless = Limits {
        depth_max: usize::MAX,
        ..limits
    };
    check_limit(&boundless, DEPTH_CEILING, "too_deep", |n| {
        format!("2{}0{}", repeat("[", n), repeat("]", n)).replacen("2[", "2[\"x\",", 1)
    });
    assert_eq!(
        decode_with(&boundless, &format!("2{}", repeat("[", 90_000))),
        Err("too_deep")
    );
}

#[test]
fn cve_2026_33151_unbounded_attachments() {
    let limits = Limits::default();
    check_limit(&limits, 10, "attachments_too_many", |n| {
        format!("5{n}-[\"x\"]")
    });
    for (text, code) in [
        ("51000000000-[\"x\"]", "attachments_too_many"),
        ("599999999999999999999999-[\"x\"]", "attachments_too_many"),
        ("51e1-[\"x\"]", "attachment_count"),
        ("5-1-[\"x\"]", "attachment_count"),
        ("5-[\"x\"]", "attachment_count"),
        ("5 1-[\"x\"]", "attachment_count"),
        ("5+1-[\"x\"]", "attachment_count"),
        ("5[\"x\"]", "attachment_count"),
        ("51", "attachment_count"),
        ("5", "attachment_count"),
        ("6", "attachment_count"),
    ] {
        check(text, Err(code));
    }
}

#[test]
fn cve_2026_69185_zero_attachments() {
    check("50-[\"x\"]", Err("attachments_zero"));
    check("500-[\"x\"]", Err("attachments_zero"));
    check("60-1[]", Err("attachments_zero"));
    let limits = Limits::default();
    let mut decoder = Decoder::new(Parser::Json);
    assert_eq!(
        decoder.handle_text("50-[\"x\"]", &limits).unwrap_err(),
        DecodeError::ZeroAttachments
    );
    for _ in 0..10_000 {
        assert!(!decoder.is_pending());
        assert_eq!(
            decoder.handle_binary(b"x", &limits).unwrap_err(),
            DecodeError::UnexpectedBinary
        );
    }
}

#[test]
fn cve_2022_2421_placeholder_index() {
    let p = |num: &str| format!("{{\"_placeholder\":true,\"num\":{num}}}");
    for (args, expected) in [
        (p("0"), Ok("pending")),
        (p("1"), Ok("pending")),
        (format!("{},{}", p("1"), p("0")), Ok("pending")),
        (
            "{\"num\":0,\"_placeholder\":true}".to_owned(),
            Ok("pending"),
        ),
        (format!("{{\"a\":[{}]}}", p("1")), Ok("pending")),
        (p("2"), Err("placeholder_index")),
        (p("-1"), Err("placeholder_index")),
        (p("0.5"), Err("placeholder_index")),
        (p("1e99"), Err("placeholder_index")),
        (p("18446744073709551616"), Err("placeholder_index")),
        (p("\"0\""), Err("placeholder_shape")),
        (p("\"splice\""), Err("placeholder_shape")),
        (p("null"), Err("placeholder_shape")),
        (p(&p("0")), Err("placeholder_shape")),
        (format!("{},{}", p("0"), p("0")), Err("placeholder_reused")),
        (
            "{\"_placeholder\":true}".to_owned(),
            Err("placeholder_shape"),
        ),
        (
            "{\"_placeholder\":false,\"num\":0}".to_owned(),
            Err("placeholder_shape"),
        ),
        (
            "{\"_placeholder\":1,\"num\":0}".to_owned(),
            Err("placeholder_shape"),
        ),
        (
            "{\"_placeholder\":true,\"num\":0,\"x\":1}".to_owned(),
            Err("placeholder_shape"),
        ),
        (
            "{\"\\u005fplaceholder\":true,\"num\":7}".to_owned(),
            Err("placeholder_index"),
        ),
    ] {
        check(&format!("52-[\"x\",{args}]"), expected);
        check(&format!("62-1[{args}]"), expected);
    }
    // Without attachments such an object is data.
    check(
        &format!("2[\"x\",{}]", p("7")),
        Ok(&format!("Event / - x 1:{}", p("7"))),
    );
}

#[test]
fn cve_2023_32695_event_name_type() {
    for name in [
        "{\"toString\":\"rce\"}",
        "[\"x\"]",
        "null",
        "true",
        "false",
        "{}",
    ] {
        check(&format!("2[{name}]"), Err("event_name_type"));
    }
    check(
        "51-[{\"_placeholder\":true,\"num\":0}]",
        Err("event_name_type"),
    );
}

#[test]
fn cve_2024_38355_reserved_names() {
    for name in RESERVED_EVENTS {
        check(&format!("2[\"{name}\"]"), Err("event_name_reserved"));
        check(&format!("51-[\"{name}\",1]"), Err("event_name_reserved"));
        check(
            &format!("2[\"{name}x\"]"),
            Ok(&format!("Event / - {name}x 0:")),
        );
    }
    check("2[\"\\u0063onnect\"]", Err("event_name_reserved"));
}

#[test]
fn cve_2020_36049_glued_packet() {
    let limits = Limits::default();
    let glued = format!("2[\"x\"]{}", "2[\"x\"]".repeat(100_000));
    assert_eq!(decode_with(&limits, &glued), Err("trailing_data"));
    let open = format!("2[\"x\"{}", ",\"x\"".repeat(200_000));
    assert_eq!(decode_with(&limits, &open), Err("json"));
}

#[test]
fn cve_2026_48804_pending_attachments_are_bounded() {
    let header = "52-[\"x\",{\"_placeholder\":true,\"num\":0},{\"_placeholder\":true,\"num\":1}]";
    let limits = Limits {
        message_bytes_max: 100,
        ..Limits::default()
    };
    for (total, expected) in [
        (99, None),
        (100, None),
        (
            101,
            Some(DecodeError::TooLarge {
                bytes: 101,
                max: 100,
            }),
        ),
    ] {
        let mut decoder = Decoder::new(Parser::Json);
        assert!(decoder.handle_text(header, &limits).unwrap().is_none());
        assert!(decoder.is_pending());
        assert!(decoder.handle_binary(b"", &limits).unwrap().is_none());
        let last = decoder.handle_binary(&vec![0; total], &limits);
        assert_eq!(last.as_ref().err(), expected.as_ref(), "{total}");
        assert!(!decoder.is_pending(), "freed when it ends, well or not");
        if let Ok(packet) = last {
            let Some(Packet::Event { args, .. }) = packet else {
                panic!("no event at {total}");
            };
            assert_eq!(args.attachments(), 2);
        }
    }
}

#[test]
fn nothing_comes_between_a_header_and_its_attachments() {
    let limits = Limits::default();
    let mut decoder = Decoder::new(Parser::Json);
    assert!(
        decoder
            .handle_text("52-[\"x\"]", &limits)
            .unwrap()
            .is_none()
    );
    assert!(decoder.handle_binary(b"1", &limits).unwrap().is_none());
    assert_eq!(
        decoder.handle_text("2[\"y\"]", &limits).unwrap_err(),
        DecodeError::TextWhilePending
    );
    assert!(!decoder.is_pending());
    let mut decoder = Decoder::new(Parser::Msgpack);
    assert_eq!(
        decoder.handle_text("2[\"y\"]", &limits).unwrap_err(),
        DecodeError::UnexpectedText
    );
}

#[test]
fn an_idle_decoder_is_small() {
    assert!(size_of::<Decoder>() <= 32);
}
