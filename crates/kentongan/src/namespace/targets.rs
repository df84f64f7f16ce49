//! Whom a broadcast is for.

use bytestring::ByteString;
use smallvec::SmallVec;

use crate::{adapter::message::Audience, id::Sid};

/// Sockets of a namespace: all, or those in any of `rooms`; without those in any of `except`. A room is a name or a
/// socket's id. Every socket is counted once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Targets {
    /// Rooms whose members are meant; none means everyone.
    pub(crate) rooms: SmallVec<[ByteString; 1]>,
    /// Rooms whose members are left out.
    pub(crate) except: SmallVec<[ByteString; 1]>,
    /// Exactly this socket.
    pub(crate) socket: Option<Sid>,
    /// This socket is left out.
    pub(crate) except_socket: Option<Sid>,
}

impl Targets {
    pub(crate) fn socket(id: Sid) -> Self {
        Self {
            socket: Some(id),
            ..Self::default()
        }
    }

    /// The same for other nodes, which know rooms and ids by their names.
    pub(crate) fn audience(&self) -> Audience {
        let name = |id: Sid| ByteString::from(&*id.text());
        let mut except = self.except.to_vec();
        except.extend(self.except_socket.map(name));
        let rooms = match self.socket {
            Some(id) => vec![name(id)],
            None => self.rooms.to_vec(),
        };
        Audience { rooms, except }
    }

    /// Whether a socket with this id and these rooms is meant.
    pub(crate) fn include(&self, id: Sid, rooms: &[ByteString]) -> bool {
        let text = id.text();
        let in_any = |list: &[ByteString]| {
            list.iter()
                .any(|room| rooms.contains(room) || **room == *text)
        };
        if self.socket.is_some_and(|socket| socket != id) || self.except_socket == Some(id) {
            return false;
        }
        (self.rooms.is_empty() || in_any(&self.rooms)) && !in_any(&self.except)
    }
}

impl From<Audience> for Targets {
    fn from(audience: Audience) -> Self {
        Self {
            rooms: audience.rooms.into(),
            except: audience.except.into(),
            ..Self::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_nodes_get_ids_as_names_of_rooms() {
        let (id, other) = (Sid::random(), Sid::random());
        let names = |names: &[&str]| -> Vec<ByteString> {
            names.iter().map(|name| ByteString::from(*name)).collect()
        };
        let targets = Targets {
            rooms: ["a".into()].into(),
            except: ["b".into()].into(),
            socket: None,
            except_socket: Some(id),
        };
        let expected = Audience {
            rooms: names(&["a"]),
            except: names(&["b", &id.text()]),
        };
        assert_eq!(targets.audience(), expected);
        let expected = Audience {
            rooms: names(&[&other.text()]),
            except: Vec::new(),
        };
        assert_eq!(Targets::socket(other).audience(), expected);
        let read = Targets::from(targets.audience());
        assert!(read.include(other, &names(&["a"])));
        assert!(!read.include(id, &names(&["a"])));
    }

    #[test]
    fn rooms_are_a_union_and_except_takes_out() {
        let id = Sid::random();
        let rooms = [ByteString::from("a"), ByteString::from("b")];
        let targets = |rooms: &[&str], except: &[&str]| Targets {
            rooms: rooms.iter().map(|room| ByteString::from(*room)).collect(),
            except: except.iter().map(|room| ByteString::from(*room)).collect(),
            ..Targets::default()
        };
        let own = id.to_string();
        for (meant, expected) in [
            (targets(&[], &[]), true),
            (targets(&["a", "b"], &[]), true),
            (targets(&["c"], &[]), false),
            (targets(&["c", "b"], &[]), true),
            (targets(&["a"], &["b"]), false),
            (targets(&[], &["c"]), true),
            (targets(&[&own], &[]), true),
            (targets(&["a"], &[&own]), false),
            (Targets::socket(id), true),
            (Targets::socket(Sid::random()), false),
            (
                Targets {
                    except_socket: Some(id),
                    ..Targets::default()
                },
                false,
            ),
        ] {
            assert_eq!(meant.include(id, &rooms), expected, "{meant:?}");
        }
    }
}
