//! Streams that took other servers down, each named after its advisory.

use super::*;

/// A server decoder in the midst of an attack; the peak of what it holds is the point.
struct Victim {
    decoder: Decoder,
    limits: Limits,
    heap_bytes_peak: usize,
}

impl Victim {
    fn new(limits: Limits) -> Self {
        Self {
            decoder: Decoder::new(Role::Server, true),
            limits,
            heap_bytes_peak: 0,
        }
    }

    fn feed(&mut self, bytes: &[u8]) -> Vec<Owned> {
        let items = feed(&mut self.decoder, bytes, &self.limits);
        self.heap_bytes_peak = self.heap_bytes_peak.max(self.decoder.heap_bytes());
        items
    }
}

/// The header of a masked text frame with a 64-bit length, however small.
fn long_header(first: u8, len: u64) -> Vec<u8> {
    [&[first, 0xff][..], &len.to_be_bytes(), &[1, 2, 3, 4]].concat()
}

/// A message of endless one-byte fragments (ws CVE-2026-48779) ends at the limit, which is inclusive.
#[test]
fn cve_2026_48779_fragment_flood() {
    fn check(fragments_max: usize) {
        let mut victim = Victim::new(Limits {
            fragments_max,
            ..Limits::default()
        });
        assert_eq!(victim.feed(&frame(0x02, b"x")), []);
        for _ in 2..fragments_max {
            assert_eq!(victim.feed(&frame(0x00, b"x")), []);
        }
        assert_eq!(
            victim.feed(&frame(0x80, b"x")),
            [Owned::Binary(vec![b'x'; fragments_max])],
            "at the limit"
        );

        assert_eq!(victim.feed(&frame(0x02, b"x")), []);
        for _ in 2..=fragments_max {
            assert_eq!(victim.feed(&frame(0x00, b"x")), []);
        }
        assert_eq!(
            victim.feed(&frame(0x80, b"x")),
            [Owned::Error(ProtocolError::TooManyFragments)]
        );
        assert!(victim.heap_bytes_peak < 4096, "{}", victim.heap_bytes_peak);
        assert_eq!(victim.decoder.heap_bytes(), 0, "freed with the error");
    }
    check(2);
    check(1024);
}

/// Empty fragments add nothing to the size and are counted all the same (CVE-2026-62389); where the count was raised,
/// their headers are what ends it.
#[test]
fn cve_2026_62389_empty_fragments() {
    fn check(limits: Limits, fits: std::ops::RangeInclusive<usize>) {
        let mut victim = Victim::new(limits);
        assert_eq!(victim.feed(&frame(0x01, b"")), []);
        let mut accepted = 1;
        let error = loop {
            match victim.feed(&frame(0x00, b"")).pop() {
                None => accepted += 1,
                Some(item) => break item,
            }
        };
        assert_eq!(error, Owned::Error(ProtocolError::TooManyFragments));
        assert!(fits.contains(&accepted), "{accepted} fragments");
        assert!(victim.heap_bytes_peak < 1024);
    }
    check(Limits::default(), 1024..=1024);
    check(
        Limits {
            fragments_max: usize::MAX,
            message_bytes_max: 1000,
            ..Limits::default()
        },
        2_800..=2_900,
    );
}

/// Lengths around every boundary are compared, never added up or allocated (NATS CVE-2026-27889).
#[test]
fn cve_2026_27889_length_overflow() {
    fn check(len: u64, expected: ProtocolError) {
        for first in [0x81, 0x82, 0xc1, 0x01] {
            let mut victim = Victim::new(limits(100));
            let items = victim.feed(&long_header(first, len));
            assert_eq!(items, [Owned::Error(expected)], "length {len:#x}");
            assert_eq!(victim.heap_bytes_peak, 0);
            // In the midst of a message, where the length is added to what is there.
            let mut victim = Victim::new(limits(100));
            assert_eq!(victim.feed(&frame(0x02, b"0123456789")), []);
            assert_eq!(
                victim.feed(&long_header(0x80, len)),
                [Owned::Error(expected)],
                "length {len:#x}"
            );
            assert!(victim.heap_bytes_peak < 512);
        }
    }
    for bits in [16, 31, 32, 33, 62] {
        for len in [(1 << bits) - 1_u64, 1 << bits, (1 << bits) + 1] {
            let not_minimal = len <= 0xffff;
            let expected = if not_minimal {
                ProtocolError::LengthNotMinimal
            } else {
                ProtocolError::MessageTooBig
            };
            check(len, expected);
        }
    }
    check((1 << 63) - 1, ProtocolError::MessageTooBig);
    for len in [
        1 << 63,
        (1 << 63) + 1,
        u64::MAX - 14,
        u64::MAX - 1,
        u64::MAX,
    ] {
        check(len, ProtocolError::LengthHighBit);
    }
    for len in [126_u16, 127, 128, 1000, 0x7fff, 0x8000, 0xffff] {
        let [high, low] = len.to_be_bytes();
        let mut victim = Victim::new(limits(100));
        let items = victim.feed(&[0x81, 0xfe, high, low, 1, 2, 3, 4]);
        assert_eq!(
            items,
            [Owned::Error(ProtocolError::MessageTooBig)],
            "length {len}"
        );
    }
}

/// A huge length within the limit, then silence (undici CVE-2026-1528): memory follows what has come, not the promise.
#[test]
fn cve_2026_1528_huge_length() {
    for len in [0x1_0000, 0x7fff_ffff, 0x1_0000_0000, i64::MAX as u64] {
        for first in [0x82, 0x02, 0xc2] {
            let mut victim = Victim::new(limits(usize::MAX));
            assert_eq!(victim.feed(&long_header(first, len)), []);
            assert_eq!(victim.feed(&[0; 10]), []);
            assert!(victim.decoder.is_pending(), "the caller's deadline runs");
            assert!(
                victim.heap_bytes_peak < 512,
                "{} bytes for length {len:#x}",
                victim.heap_bytes_peak
            );
        }
    }
}

/// A receive buffer is never far larger than what it holds, nor larger than the message can be (CVE-2026-27571).
#[test]
fn cve_2026_27571_buffer_follows_what_arrived() {
    let mut victim = Victim::new(limits(1_000_000));
    assert_eq!(victim.feed(&long_header(0x82, 1_000_000)), []);
    for received in (50_000..1_000_000).step_by(50_000) {
        assert_eq!(victim.feed(&[0; 50_000]), []);
        let held = victim.decoder.heap_bytes();
        assert!(
            held <= 2 * received + 512 && held <= 1_000_512,
            "{held} bytes for {received}"
        );
    }
    assert!(
        matches!(&victim.feed(&[0; 50_000])[..], [Owned::Binary(bytes)] if bytes.len() == 1_000_000)
    );
    assert_eq!(victim.decoder.heap_bytes(), 0);
}

/// One byte per write: the cost of a byte does not grow with the message.
#[test]
fn one_byte_writes_are_linear() {
    let payload = "é".repeat(100_000);
    let stream = frame(0x81, payload.as_bytes());
    let mut victim = Victim::new(limits(1_000_000));
    let mut items = Vec::new();
    for byte in &stream {
        items.extend(victim.feed(&[*byte]));
    }
    assert_eq!(items, [text(&payload)]);
}

/// A bomb in one frame and in fragments, through the decoder: 1009, and what was inflated is freed.
#[test]
fn cve_2016_10544_deflate_bomb() {
    let bomb = compress_message(&vec![0; 32 << 20]);
    let (front, back) = bomb.split_at(1000);
    for stream in [
        frame(0xc2, &bomb),
        [frame(0x42, front), frame(0x80, back)].concat(),
    ] {
        let mut victim = Victim::new(limits(1_000_000));
        assert_eq!(
            victim.feed(&stream),
            [Owned::Error(ProtocolError::MessageTooBig)]
        );
        assert_eq!(victim.decoder.heap_bytes(), 0);
    }
}

/// Bombs in a row do not add up: nothing is kept from one message for the next.
#[test]
fn cve_2026_1526_messages_do_not_add_up() {
    let message = frame(0xc2, &compress_message(&[0; 1000]));
    let mut victim = Victim::new(limits(1000));
    for _ in 0..100 {
        assert_eq!(victim.feed(&message), [Owned::Binary(vec![0; 1000])]);
        assert_eq!(victim.heap_bytes_peak, 0);
    }
}

/// Fragments of a compressed message may hold no more than the message could need, empty blocks or not.
#[test]
fn cve_2026_128131_empty_blocks_in_fragments() {
    let blocks = [0x00, 0x00, 0x00, 0xff, 0xff].repeat(200);
    let mut victim = Victim::new(limits(1000));
    assert_eq!(victim.feed(&frame(0x42, &blocks)), []);
    assert_eq!(
        victim.feed(&frame(0x00, &blocks)),
        [Owned::Error(ProtocolError::MessageTooBig)]
    );
}

/// Control frames inside a message count for nothing: each is handed out, nothing is queued here.
#[test]
fn ping_flood_holds_no_memory() {
    let mut victim = Victim::new(limits(1000));
    assert_eq!(victim.feed(&frame(0x01, b"begun")), []);
    let held = victim.decoder.heap_bytes();
    let flood = frame(0x89, &[b'p'; 125]).repeat(100);
    assert_eq!(victim.feed(&flood).len(), 100);
    assert_eq!(victim.decoder.heap_bytes(), held);
    assert_eq!(
        victim.feed(&frame(0x80, b", ended")),
        [text("begun, ended")]
    );
}
