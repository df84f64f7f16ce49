//! Entries: what the payload of a frame says.
//!
//! A byte for the kind, then fields, little-endian. Must not know where entries lie.

use crate::{position::Epoch, record::Window};

/// One entry of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Entry<'a> {
    /// What a room is: before its first record in a segment, and whenever it changes.
    Room(RoomEntry<'a>),
    /// A record.
    Record(RecordEntry<'a>),
    /// The last entry of a segment: the next segment exists.
    Seal,
    /// Segments up to this one have been dropped.
    Dropped { through: u32 },
    /// From here on records are acknowledged before they are synced (`Cache`), or not (`Disk`).
    Opened(Acknowledged),
    /// The store was closed in good order: all before this is on stable storage.
    Closed,
}

/// When records are acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Acknowledged {
    Synced,
    Written,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RoomEntry<'a> {
    pub(super) number: u32,
    pub(super) epoch: Epoch,
    /// Records before this offset are no longer held.
    pub(super) first: u64,
    pub(super) next: u64,
    pub(super) window: Window,
    pub(super) last_at_ms: u64,
    pub(super) name: &'a str,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RecordEntry<'a> {
    /// The room's number.
    pub(super) room: u32,
    pub(super) offset: u64,
    pub(super) at_ms: u64,
    pub(super) id: &'a str,
    pub(super) data: &'a [u8],
}

const ROOM: u8 = 1;
const RECORD: u8 = 2;
const SEAL: u8 = 3;
const DROPPED: u8 = 4;
const OPENED: u8 = 5;
const CLOSED: u8 = 6;

impl<'a> Entry<'a> {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Entry::Room(room) => {
                out.push(ROOM);
                out.extend_from_slice(&room.number.to_le_bytes());
                let Window {
                    records,
                    age_ms,
                    bytes,
                } = room.window;
                for field in [
                    room.epoch.number(),
                    room.first,
                    room.next,
                    records,
                    age_ms,
                    bytes,
                    room.last_at_ms,
                ] {
                    out.extend_from_slice(&field.to_le_bytes());
                }
                out.extend_from_slice(room.name.as_bytes());
            }
            Entry::Record(record) => {
                out.push(RECORD);
                out.extend_from_slice(&record.room.to_le_bytes());
                out.extend_from_slice(&record.offset.to_le_bytes());
                out.extend_from_slice(&record.at_ms.to_le_bytes());
                // Limits::check holds ids to 255 bytes.
                out.push(record.id.len() as u8);
                out.extend_from_slice(record.id.as_bytes());
                out.extend_from_slice(record.data);
            }
            Entry::Seal => out.push(SEAL),
            Entry::Dropped { through } => {
                out.push(DROPPED);
                out.extend_from_slice(&through.to_le_bytes());
            }
            Entry::Opened(acknowledged) => {
                out.push(OPENED);
                out.push(match acknowledged {
                    Acknowledged::Synced => 0,
                    Acknowledged::Written => 1,
                });
            }
            Entry::Closed => out.push(CLOSED),
        }
    }

    /// `None` for bytes that are no entry.
    pub(super) fn decode(payload: &'a [u8]) -> Option<Self> {
        let (&kind, rest) = payload.split_first()?;
        let fields = &mut Fields(rest);
        let entry = match kind {
            ROOM => Entry::Room(RoomEntry {
                number: fields.u32()?,
                epoch: Epoch::new(fields.u64()?)?,
                first: fields.u64()?,
                next: fields.u64()?,
                window: Window {
                    records: fields.u64()?,
                    age_ms: fields.u64()?,
                    bytes: fields.u64()?,
                },
                last_at_ms: fields.u64()?,
                name: std::str::from_utf8(fields.rest()).ok()?,
            }),
            RECORD => Entry::Record(RecordEntry {
                room: fields.u32()?,
                offset: fields.u64()?,
                at_ms: fields.u64()?,
                id: {
                    let bytes = fields.u8()?;
                    std::str::from_utf8(fields.take(usize::from(bytes))?).ok()?
                },
                data: fields.rest(),
            }),
            SEAL => Entry::Seal,
            DROPPED => Entry::Dropped {
                through: fields.u32()?,
            },
            OPENED => Entry::Opened(match fields.u8()? {
                0 => Acknowledged::Synced,
                1 => Acknowledged::Written,
                _ => return None,
            }),
            CLOSED => Entry::Closed,
            _ => return None,
        };
        fields.0.is_empty().then_some(entry)
    }
}

/// What is left to read.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, bytes: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(bytes)?;
        self.0 = rest;
        Some(taken)
    }

    fn u8(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    fn u32(&mut self) -> Option<u32> {
        Some(u32::from_le_bytes(*self.take(4)?.first_chunk()?))
    }

    fn u64(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(*self.take(8)?.first_chunk()?))
    }

    fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{limits::APPEND_OVERHEAD, log::frame};

    fn samples() -> Vec<Entry<'static>> {
        vec![
            Entry::Room(RoomEntry {
                number: 7,
                epoch: Epoch::new(5).unwrap(),
                first: 3,
                next: 10,
                window: Window {
                    records: 1,
                    age_ms: 2,
                    bytes: 3,
                },
                last_at_ms: 4,
                name: "a room",
            }),
            Entry::Record(RecordEntry {
                room: 7,
                offset: 10,
                at_ms: 11,
                id: "an id",
                data: b"data",
            }),
            Entry::Seal,
            Entry::Dropped { through: 9 },
            Entry::Opened(Acknowledged::Synced),
            Entry::Opened(Acknowledged::Written),
            Entry::Closed,
        ]
    }

    #[test]
    fn entries_come_back() {
        for entry in samples() {
            let mut bytes = Vec::new();
            entry.encode(&mut bytes);
            assert_eq!(Entry::decode(&bytes), Some(entry));
        }
        for wrong in [&b""[..], b"\x00", b"\x03!", b"\x05\x02", b"\x04\x00"] {
            assert_eq!(Entry::decode(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn an_append_takes_no_more_than_it_is_counted_for() {
        let mut bytes = Vec::new();
        for entry in samples()
            .iter()
            .take(2)
            .chain(&[Entry::Opened(Acknowledged::Written)])
        {
            bytes.extend_from_slice(&[0; frame::HEADER_BYTES]);
            entry.encode(&mut bytes);
        }
        let counted = APPEND_OVERHEAD + "a room".len() + "an id".len() + "data".len();
        assert!(bytes.len() <= counted, "{} > {counted}", bytes.len());
    }
}
