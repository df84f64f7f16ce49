//! Tables for arguments: writing, reading, attachments and forged placeholders.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::*;
use crate::frame::Frame;
use crate::limits::{Limits, SENT_ATTACHMENTS_MAX};
use crate::socket::decode::Decoder;
use crate::socket::encode;
use crate::socket::packet::Packet;

fn check<T: Serialize + ?Sized>(value: &T, json: &str, count: usize, attachments: usize) {
    let args = Args::from_serialize(Parser::Json, value).unwrap();
    assert_eq!(args.json(), Some(json));
    assert_eq!(
        (args.len(), args.attachments()),
        (count, attachments),
        "{json}"
    );
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Message {
    room: String,
    data: Bytes,
}

#[test]
fn a_tuple_is_several_arguments_and_anything_else_is_one() {
    check(&(), "", 0, 0);
    check(&(1,), "1", 1, 0);
    check(&(1, "a", None::<u8>), "1,\"a\",null", 3, 0);
    check(&[1, 2, 3], "1,2,3", 3, 0);
    check(&((1, 2), ()), "[1,2],null", 2, 0);
    check(&vec![1, 2, 3], "[1,2,3]", 1, 0);
    check("a\"é\n", "\"a\\\"é\\n\"", 1, 0);
    check(&Some((1, 2)), "[1,2]", 1, 0);
    check(&None::<u8>, "null", 1, 0);
    check(&BTreeMap::from([("a", 1)]), "{\"a\":1}", 1, 0);
    check(
        &(f64::NAN, f64::INFINITY, f32::NEG_INFINITY, 1.5),
        "null,null,null,1.5",
        4,
        0,
    );
}

#[test]
fn strings_are_written_as_serde_json_writes_them() {
    for len in 0..70 {
        let plain = "é".repeat(len);
        let mut texts = vec![plain.clone()];
        texts.extend(["\"", "\\", "\u{0}", "\u{1f}", "\u{7f}"].map(|end| format!("{plain}{end}x")));
        for text in texts {
            let json = serde_json::to_string(&text).unwrap();
            check(&text, &json, 1, 0);
            check(&(1, &text, 'c'), &format!("1,{json},\"c\""), 3, 0);
        }
    }
    check(&(std::net::Ipv4Addr::LOCALHOST,), "\"127.0.0.1\"", 1, 0);
}

#[test]
fn binary_becomes_placeholder_and_attachment() {
    let message = Message {
        room: "r".to_owned(),
        data: Bytes::from_static(b"ab"),
    };
    let first = "{\"room\":\"r\",\"data\":{\"_placeholder\":true,\"num\":0}}";
    check(&message, first, 1, 1);
    let args = Args::from_serialize(Parser::Json, &(&message, Bytes::from_static(b"c"))).unwrap();
    assert_eq!(
        args.json().unwrap(),
        format!("{first},{{\"_placeholder\":true,\"num\":1}}")
    );
    let (back, data): (Message, Bytes) = args.deserialize().unwrap();
    assert_eq!((back, &data[..]), (message, &b"c"[..]));
    assert_eq!(args.argument::<Bytes>(1).unwrap(), "c");
    assert_eq!(args.argument::<Option<u8>>(2).unwrap(), None);
    assert_eq!(args.bytes_len(), args.json().unwrap().len() + 3);
    let values = args.values().unwrap();
    assert_eq!(
        values[0].get("data"),
        Some(&Value::Binary(Bytes::from_static(b"ab")))
    );
    let again = Args::from_values(Parser::Json, &values).unwrap();
    assert_eq!((again.json(), again.attachments()), (args.json(), 2));
}

#[test]
fn attachments_are_bounded_by_what_stock_clients_accept() {
    for count in [
        SENT_ATTACHMENTS_MAX - 1,
        SENT_ATTACHMENTS_MAX,
        SENT_ATTACHMENTS_MAX + 1,
    ] {
        let value = vec![Bytes::from_static(b"x"); count];
        let code = Args::from_serialize(Parser::Json, &value)
            .err()
            .map(|error| error.code());
        let expected = (count > SENT_ATTACHMENTS_MAX).then_some("args_attachments");
        assert_eq!(code, expected, "{count}");
    }
}

#[test]
fn placeholders_cannot_be_forged() {
    let forged = [
        "{\"_placeholder\":true,\"num\":0}",
        "{\"_placeholder\":true,\"num\":1}",
        "{\"a\":[{\"_placeholder\":true}]}",
        "{\"\\u005fplaceholder\":true,\"num\":0}",
    ];
    for json in forged {
        let user: Box<serde_json::value::RawValue> = serde_json::from_str(json).unwrap();
        let parsed: Value = serde_json::from_str(json).unwrap();
        let data = Bytes::from_static(b"secret");
        for args in [
            Args::from_serialize(Parser::Json, &(&user, &data)),
            Args::from_serialize(Parser::Json, &(&data, &user)),
            Args::from_serialize(Parser::Json, &(&data, &parsed)),
        ] {
            assert_eq!(args.unwrap_err(), ArgsError::ForgedPlaceholder, "{json}");
        }
        let plain = Args::from_serialize(Parser::Json, &user).unwrap();
        assert_eq!(plain.json(), Some(json));
        assert_eq!(
            plain.argument::<Value>(0).unwrap(),
            parsed,
            "data without attachments"
        );
    }
}

#[test]
fn missing_arguments_are_null_and_extra_ones_are_ignored() {
    let args = Args::from_serialize(Parser::Json, &(1, "a")).unwrap();
    assert_eq!(args.deserialize::<u8>().unwrap(), 1);
    assert_eq!(args.deserialize::<(u8,)>().unwrap(), (1,));
    assert_eq!(
        args.deserialize::<(u8, String)>().unwrap(),
        (1, "a".to_owned())
    );
    assert_eq!(
        args.deserialize::<(u8, Value, Option<u8>)>().unwrap(),
        (1, "a".into(), None)
    );
    args.deserialize::<()>().unwrap();
    assert_eq!(args.argument::<String>(1).unwrap(), "a");
    assert_eq!(args.argument::<Option<u8>>(2).unwrap(), None);
    for error in [
        args.deserialize::<String>().unwrap_err(),
        args.deserialize::<(u8, u8)>().unwrap_err(),
        args.deserialize::<(u8, String, u8)>().unwrap_err(),
        args.argument::<u8>(2).unwrap_err(),
    ] {
        assert_eq!(error.code(), "args_deserialize");
    }
    let empty = Args::empty(Parser::Json);
    assert_eq!(empty.deserialize::<Option<u8>>().unwrap(), None);
    assert_eq!(
        empty.deserialize::<(Option<u8>, Value)>().unwrap(),
        (None, Value::Null)
    );
    assert_eq!(empty.values().unwrap(), []);
    let binary = Args::from_serialize(Parser::Json, &(Bytes::from_static(b"x"), 2)).unwrap();
    assert_eq!(
        binary.deserialize::<(Bytes, u8, Option<u8>)>().unwrap(),
        (Bytes::from_static(b"x"), 2, None)
    );
    assert_eq!(
        binary.deserialize::<(Bytes,)>().unwrap(),
        (Bytes::from_static(b"x"),)
    );
    assert_eq!(binary.deserialize::<Bytes>().unwrap(), "x");
    binary.deserialize::<()>().unwrap();
}

#[test]
fn pushes_one_more_string() {
    let empty = Args::empty(Parser::Json).pushed_str("a\"");
    assert_eq!((empty.json(), empty.len()), (Some("\"a\\\"\""), 1));
    let args = Args::from_serialize(Parser::Json, &(1, Bytes::new()))
        .unwrap()
        .pushed_str("p");
    assert_eq!(
        args.json(),
        Some("1,{\"_placeholder\":true,\"num\":0},\"p\"")
    );
    assert_eq!((args.len(), args.attachments()), (3, 1));
}

#[test]
fn arguments_pass_through_into_args() {
    let args = (1, 2).into_args(Parser::Json).unwrap();
    assert_eq!((&args).into_args(Parser::Json).unwrap().json(), Some("1,2"));
    assert_eq!("x".into_args(Parser::Json).unwrap().json(), Some("\"x\""));
    assert_eq!(args.into_args(Parser::Json).unwrap().len(), 2);
}

fn check_frame(frame: &Frame, polling: &str) {
    assert_eq!(std::str::from_utf8(frame.polling()).unwrap(), polling);
}

#[test]
fn encodes_every_type() {
    let none = Args::empty(Parser::Json);
    let two = Args::from_serialize(Parser::Json, &(1, "b")).unwrap();
    let binary = Args::from_serialize(Parser::Json, &Bytes::from_static(&[1, 2, 3, 4])).unwrap();
    let p = "{\"_placeholder\":true,\"num\":0}";
    check_frame(
        &encode::connect(Parser::Json, "/", "s", None),
        "40{\"sid\":\"s\"}",
    );
    check_frame(
        &encode::connect(Parser::Json, "/a", "s", Some("p")),
        "40/a,{\"sid\":\"s\",\"pid\":\"p\"}",
    );
    check_frame(
        &encode::connect_error(Parser::Json, "/a", "no \"x\"", None),
        "44/a,{\"message\":\"no \\\"x\\\"\"}",
    );
    let data = Value::from(vec![Value::from(1)]);
    check_frame(
        &encode::connect_error(Parser::Json, "/", "m", Some(&data)),
        "44{\"message\":\"m\",\"data\":[1]}",
    );
    check_frame(&encode::disconnect(Parser::Json, "/"), "41");
    check_frame(&encode::disconnect(Parser::Json, "/a"), "41/a,");
    check_frame(&encode::event("/", "x", &none, None, None), "42[\"x\"]");
    check_frame(
        &encode::event("/", "x\n", &none, Some(u64::MAX), None),
        "4218446744073709551615[\"x\\n\"]",
    );
    check_frame(
        &encode::event("/a", "x", &two, Some(7), Some("p")),
        "42/a,7[\"x\",1,\"b\",\"p\"]",
    );
    check_frame(
        &encode::event("/", "x", &none, None, Some("p")),
        "42[\"x\",\"p\"]",
    );
    check_frame(
        &encode::event("/a", "x", &binary, Some(7), None),
        &format!("451-/a,7[\"x\",{p}]\u{1e}bAQIDBA=="),
    );
    check_frame(&encode::ack("/", 0, &none), "430[]");
    check_frame(&encode::ack("/a", 13, &two), "43/a,13[1,\"b\"]");
    check_frame(
        &encode::ack("/", 13, &binary),
        &format!("461-13[{p}]\u{1e}bAQIDBA=="),
    );
    let auth = Args::from_serialize(Parser::Json, &BTreeMap::from([("t", 1)])).unwrap();
    check_frame(
        &encode::client_connect(Parser::Json, "/a", Some(&auth)),
        "40/a,{\"t\":1}",
    );
    check_frame(&encode::client_connect(Parser::Json, "/", None), "40");
}

#[test]
fn a_decoded_binary_event_is_what_was_sent() {
    let limits = Limits::default();
    let sent = (
        Bytes::from_static(b"one"),
        vec![Bytes::from_static(b"two")],
        "€",
    );
    let args = Args::from_serialize(Parser::Json, &sent).unwrap();
    let header = format!("52-/a,7[\"x\",{}]", args.json().unwrap());
    let mut decoder = Decoder::new(Parser::Json);
    assert!(decoder.handle_text(&header, &limits).unwrap().is_none());
    assert!(decoder.handle_binary(b"one", &limits).unwrap().is_none());
    let packet = decoder.handle_binary(b"two", &limits).unwrap();
    let Some(Packet::Event { ns, id, name, args }) = packet else {
        panic!("no event: {packet:?}");
    };
    assert_eq!((&*ns, id, &*name), ("/a", Some(7), "x"));
    let (one, two, text): (Bytes, Vec<Bytes>, String) = args.deserialize().unwrap();
    assert_eq!((one, two, &*text), sent);
}

#[test]
fn null_is_an_argument_and_unit_is_none() {
    for parser in [Parser::Json, Parser::Msgpack] {
        assert_eq!(Args::from_serialize(parser, &Value::Null).unwrap().len(), 1);
        assert_eq!(Args::from_serialize(parser, &None::<u8>).unwrap().len(), 1);
        assert_eq!(Args::from_serialize(parser, &()).unwrap().len(), 0);
    }
}
