//! Tables for arguments in their msgpack form.

use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use super::super::*;
use super::{int, short};
use crate::socket::args::ArgsError;
use crate::socket::value::Value;

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Chat {
    room: String,
    size: Option<u8>,
}

fn chat() -> Chat {
    Chat {
        room: "r".into(),
        size: None,
    }
}

fn blob() -> Value {
    Value::Binary(Bytes::from_static(&[7]))
}

#[test]
fn serialized_arguments_are_counted() {
    fn check<T: Serialize + ?Sized>(value: &T, expected: &[u8], count: u32) {
        let (bytes, counted) = args_from_serialize(value).unwrap();
        assert_eq!((&bytes[..], counted), (expected, count));
    }
    check(&(), &[], 0);
    check(&(1, "x"), &[0x01, 0xa1, b'x'], 2);
    check(&[1, 2], &[0x01, 0x02], 2);
    check(&&(1,), &[0x01], 1);
    check(&vec![1, 2], &[0x92, 0x01, 0x02], 1);
    check("x", &[0xa1, b'x'], 1);
    check(&None::<u8>, &[0xc0], 1);
    check(&blob(), &[0xc4, 1, 7], 1);
    check(&((1, 2),), &[0x92, 0x01, 0x02], 1);
    let named = super::bytes(&[
        &[0x82],
        &short("room"),
        &short("r"),
        &short("size"),
        &[0xc0],
    ]);
    check(&chat(), &named, 1);
    check(&[Value::Null, Value::Bool(true)], &[0xc0, 0xc3], 2);
    check(&Ipv4Addr::LOCALHOST, &short("127.0.0.1"), 1);
}

#[test]
fn a_value_that_cannot_be_serialized_is_an_error() {
    struct Broken;
    impl Serialize for Broken {
        fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(serde::ser::Error::custom("broken"))
        }
    }
    let expected = ArgsError::Serialize("broken".into());
    assert_eq!(args_from_serialize(&Broken).unwrap_err(), expected);
    assert!(args_from_serialize(&(1, Broken)).is_err());
}

#[test]
fn arguments_are_deserialized() {
    let (bytes, count) = args_from_serialize(&(chat(), 2, blob())).unwrap();
    let all = args_deserialize::<(Chat, i64, Value)>(&bytes, count).unwrap();
    assert_eq!(all, (chat(), 2, blob()));
    assert_eq!(args_deserialize::<Chat>(&bytes, count).unwrap(), chat());
    assert_eq!(
        args_deserialize::<(Chat,)>(&bytes, count).unwrap(),
        (chat(),)
    );
    args_deserialize::<()>(&bytes, count).unwrap();
    let more = args_deserialize::<(Value, f64, Vec<u8>, Option<u8>, ())>(&bytes, count).unwrap();
    assert_eq!((more.1, more.2, more.3), (2.0, vec![7], None));
    assert!(args_deserialize::<(Chat, i64, Value, u8)>(&bytes, count).is_err());
    assert!(args_deserialize::<u8>(&bytes, count).is_err());
    assert_eq!(argument::<u8>(&bytes, count, 1).unwrap(), 2);
    assert_eq!(argument::<Option<u8>>(&bytes, count, 3).unwrap(), None);
    assert_eq!(args_deserialize::<Option<u8>>(&[], 0).unwrap(), None);
    assert_eq!(args_deserialize::<Value>(&[], 0).unwrap(), Value::Null);
    assert!(args_deserialize::<u8>(&[], 0).is_err());
    let (bytes, count) = args_from_serialize(&Ipv4Addr::LOCALHOST).unwrap();
    assert_eq!(
        args_deserialize::<Ipv4Addr>(&bytes, count).unwrap(),
        Ipv4Addr::LOCALHOST
    );
}

#[test]
fn enums_travel_as_arguments() {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    enum Shape {
        Point,
        Circle(u8),
        Box { width: u8 },
    }
    for shape in [Shape::Point, Shape::Circle(1), Shape::Box { width: 2 }] {
        let (bytes, count) = args_from_serialize(&shape).unwrap();
        assert_eq!(count, 1);
        assert_eq!(args_deserialize::<Shape>(&bytes, count).unwrap(), shape);
    }
}

#[test]
fn values_survive_a_round_trip() {
    let all = [
        Value::Null,
        Value::Bool(true),
        int(-5),
        Value::from(u64::MAX),
        Value::from(1.5),
        Value::from("x"),
        Value::Binary(Bytes::from_static(&[1, 2])),
        Value::Array(vec![int(1)]),
        Value::Object(vec![("z".into(), int(1)), ("a".into(), Value::Null)]),
    ];
    let (bytes, count) = from_values(&all).unwrap();
    assert_eq!(values(&bytes, count).unwrap(), all);
    let pushed = push_str(&bytes, "last");
    let last = argument::<String>(&pushed, count + 1, all.len()).unwrap();
    assert_eq!(last, "last");
    assert!(values(&bytes, count + 1).is_err());
}
