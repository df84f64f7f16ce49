//! Durations (`250ms`, `7d`) and sizes (`4KiB`) as texts.

use std::time::Duration;

const DURATIONS: [(&str, u64); 5] = [
    ("ms", 1),
    ("s", 1_000),
    ("m", 60_000),
    ("h", 3_600_000),
    ("d", 86_400_000),
];
const SIZES: [(&str, u64); 6] = [
    ("B", 1),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("KiB", 1024),
    ("MiB", 1024 * 1024),
    ("GiB", 1024 * 1024 * 1024),
];
/// Longer than anyone keeps anything, and short enough for every sum.
const DURATION_MS_MAX: u64 = 3_650 * 86_400_000;

/// What a duration looks like, for messages.
pub(crate) const DURATION_FORM: &str =
    "a duration is a whole number with ms, s, m, h or d: \"250ms\", \"7d\"";
/// What a size looks like, for messages.
pub(crate) const SIZE_FORM: &str =
    "a size is a whole number with B, kB, MB, KiB, MiB or GiB: \"4KiB\"";

/// Reads a duration of at most ten years.
pub(crate) fn duration(text: &str) -> Option<Duration> {
    let ms = number(text, &DURATIONS)?;
    (ms <= DURATION_MS_MAX).then(|| Duration::from_millis(ms))
}

/// Reads a size in bytes.
pub(crate) fn size(text: &str) -> Option<u64> {
    number(text, &SIZES)
}

/// A duration in the largest unit that fits.
pub(crate) fn duration_text(duration: Duration) -> String {
    let ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    text(ms, &DURATIONS)
}

/// A size in the largest unit that fits.
pub(crate) fn size_text(bytes: u64) -> String {
    text(bytes, &SIZES)
}

fn number(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let end = text.find(|c: char| !c.is_ascii_digit())?;
    let (digits, unit) = text.split_at(end);
    let (_, factor) = units.iter().find(|(name, _)| *name == unit)?;
    digits.parse::<u64>().ok()?.checked_mul(*factor)
}

fn text(value: u64, units: &[(&str, u64)]) -> String {
    let fitting = units
        .iter()
        .filter(|(_, factor)| value != 0 && value.is_multiple_of(*factor))
        .max_by_key(|(_, factor)| *factor);
    let (unit, factor) = fitting.or(units.first()).copied().unwrap_or(("", 1));
    format!("{}{unit}", value / factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, ms) in [
            ("0ms", Some(0)),
            ("250ms", Some(250)),
            ("1s", Some(1_000)),
            ("5m", Some(300_000)),
            ("2h", Some(7_200_000)),
            ("7d", Some(604_800_000)),
            ("", None),
            ("7", None),
            ("d", None),
            ("-1s", None),
            ("+1s", None),
            ("1.5s", None),
            ("1 s", None),
            ("1S", None),
            ("1h30m", None),
            ("99999999999999999999s", None),
            ("18446744073709551615d", None),
            ("3651d", None),
        ] {
            assert_eq!(duration(text), ms.map(Duration::from_millis), "{text}");
        }
        assert_eq!(duration_text(Duration::from_millis(1_500)), "1500ms");
        assert_eq!(duration_text(Duration::from_secs(7_200)), "2h");
        assert_eq!(duration_text(Duration::ZERO), "0ms");
    }

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("0B", Some(0)),
            ("1kB", Some(1_000)),
            ("4KiB", Some(4_096)),
            ("1MB", Some(1_000_000)),
            ("2MiB", Some(2_097_152)),
            ("1GiB", Some(1_073_741_824)),
            ("4kib", None),
            ("4K", None),
            ("18446744073709551615GiB", None),
        ] {
            assert_eq!(size(text), bytes, "{text}");
        }
        assert_eq!(size_text(4_096), "4KiB");
        assert_eq!(size_text(1_000_000), "1MB");
        assert_eq!(size_text(1_001), "1001B");
    }
}
