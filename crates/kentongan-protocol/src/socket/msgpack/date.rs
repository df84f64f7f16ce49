//! JavaScript dates as text: what `Date.prototype.toISOString` gives.
//!
//! It must not know msgpack.

/// Largest distance from 1970 that a JavaScript Date can have, in milliseconds (ECMA-262, "Time Values").
const MILLIS_MAX: i64 = 8_640_000_000_000_000;
const DAY_MILLIS: i64 = 86_400_000;

/// `1970-01-01T00:00:00.000Z` for 0 milliseconds. None outside the range of a Date, which JSON writes as `null`.
pub(super) fn iso(millis: i64) -> Option<String> {
    if !(-MILLIS_MAX..=MILLIS_MAX).contains(&millis) {
        return None;
    }
    let (year, month, day) = civil(millis.div_euclid(DAY_MILLIS));
    let time = millis.rem_euclid(DAY_MILLIS);
    let (hour, minute) = (time / 3_600_000, time / 60_000 % 60);
    let (second, milli) = (time / 1000 % 60, time % 1000);
    let year = match year {
        0..=9999 => format!("{year:04}"),
        // Six digits and a sign: ECMA-262, "Expanded Years".
        _ => format!("{year:+07}"),
    };
    Some(format!(
        "{year}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z"
    ))
}

/// Year, month and day of a number of days since 1970, in the Gregorian calendar extended both ways. Counts in eras
/// of 400 years that begin on 1 March, so that the leap day is the last of its year.
const fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    let january_or_february = (month <= 2) as i64;
    (year_of_era + era * 400 + january_or_february, month, day)
}
