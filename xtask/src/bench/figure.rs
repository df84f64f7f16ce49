//! Numbers as a person reads them.

/// About three digits that matter: `0.123`, `7.25`, `45.1`, `1,234`.
pub(crate) fn figure(value: f64) -> String {
    match value.abs() {
        size if size >= 99.95 && value > 0.0 => whole(value.round() as u64),
        size if size >= 99.95 => format!("-{}", whole(size.round() as u64)),
        size if size >= 9.995 => format!("{value:.1}"),
        size if size >= 0.9995 || size == 0.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

/// With commas between thousands.
pub(crate) fn whole(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_short() {
        let check = |value, expected: &str| assert_eq!(figure(value), expected);
        check(0.0, "0.00");
        check(0.1234, "0.123");
        check(0.9999, "1.00");
        check(7.249, "7.25");
        check(9.999, "10.0");
        check(99.97, "100");
        check(1_234.4, "1,234");
        check(1_234_567.0, "1,234,567");
        check(-1_234.0, "-1,234");
    }
}
