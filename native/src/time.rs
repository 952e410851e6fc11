//! RFC 3339 times as whole microseconds since 1970-01-01T00:00:00Z.

use crate::window::digits;

pub const MICROS_PER_SECOND: i64 = 1_000_000;
const SECONDS_PER_DAY: i64 = 86_400;
/// 0001-01-01T00:00:00Z and the last microsecond of 9999: what RFC 3339 can say in UTC.
pub const FIRST_MICROS: i64 = -62_135_596_800 * MICROS_PER_SECOND;
pub const LAST_MICROS: i64 = 253_402_300_800 * MICROS_PER_SECOND - 1;

/// The microseconds of `YYYY-MM-DDTHH:MM:SS[.1-9 digits](Z|±HH:MM)`; finer digits are cut off.
///
/// `t` and `z` may be lower case. `None` for anything else: no offset, a space for the T, a date that does not exist
/// (years 1 to 9999), a leap second.
pub fn parse_rfc3339(text: &[u8]) -> Option<i64> {
    let (fixed, rest) = text.split_first_chunk::<19>()?;
    if fixed[4] != b'-' || fixed[7] != b'-' || fixed[10] | 0x20 != b't' || fixed[13] != b':' || fixed[16] != b':' {
        return None;
    }
    let year = two_digits(fixed[0], fixed[1])? * 100 + two_digits(fixed[2], fixed[3])?;
    let month = two_digits(fixed[5], fixed[6])?;
    let day = two_digits(fixed[8], fixed[9])?;
    let (hour, minute, second) =
        (two_digits(fixed[11], fixed[12])?, two_digits(fixed[14], fixed[15])?, two_digits(fixed[17], fixed[18])?);
    if year == 0 || month == 0 || month > 12 || day == 0 || day > days_in_month(year, month) {
        return None;
    }
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let (micros, rest) = fraction(rest)?;
    let offset_minutes = offset(rest)?;
    let minutes = (days_from_civil(year, month, day) * 24 + hour) * 60 + minute - offset_minutes;
    Some((minutes * 60 + second) * MICROS_PER_SECOND + micros)
}

/// Reads times that follow one another: those of the same minute cost little.
#[derive(Clone)]
pub struct TimeReader {
    /// `YYYY-MM-DDTHH:MM` of the last time in UTC, as a number.
    minute: u128,
    minute_us: i64,
}

impl Default for TimeReader {
    fn default() -> Self {
        // Bytes of 0xff: no text has them.
        TimeReader { minute: u128::MAX, minute_us: 0 }
    }
}

impl TimeReader {
    /// As `parse_rfc3339`.
    #[inline]
    pub fn parse(&mut self, text: &[u8]) -> Option<i64> {
        match self.usual(text) {
            Some(micros) => Some(micros),
            None => self.other(text),
        }
    }

    /// `YYYY-MM-DDTHH:MM:SS.ffffffZ`, as our client writes it, in the minute of the last time.
    #[inline(always)]
    fn usual(&self, text: &[u8]) -> Option<i64> {
        let (minute, rest) = text.split_first_chunk()?;
        let rest: &[u8; 11] = rest.try_into().ok()?;
        let [b':', tens, ones, b'.', .., b'Z'] = *rest else {
            return None;
        };
        let (tens, ones) = (tens.wrapping_sub(b'0'), ones.wrapping_sub(b'0'));
        let (micros, 6) = digits(u64::from_le_bytes(*rest.last_chunk()?) >> 8)? else {
            return None;
        };
        let usual = u128::from_le_bytes(*minute) == self.minute && tens < 6 && ones < 10;
        let seconds = i64::from(tens) * 10 + i64::from(ones);
        usual.then_some(self.minute_us + seconds * MICROS_PER_SECOND + micros as i64)
    }

    #[inline(never)]
    fn other(&mut self, text: &[u8]) -> Option<i64> {
        let micros = parse_rfc3339(text)?;
        if let (Some(minute), Some(b'Z')) = (text.first_chunk(), text.last()) {
            self.minute = u128::from_le_bytes(*minute);
            self.minute_us = micros - micros.rem_euclid(60 * MICROS_PER_SECOND);
        }
        Some(micros)
    }
}

/// Writes the time in UTC with six digits of fraction. The year must be in 1..=9999 (see `FIRST_MICROS`).
pub fn format_rfc3339(micros: i64, out: &mut Vec<u8>) {
    use std::io::Write;
    let seconds = micros.div_euclid(MICROS_PER_SECOND);
    let (year, month, day) = civil_from_days(seconds.div_euclid(SECONDS_PER_DAY));
    let of_day = seconds.rem_euclid(SECONDS_PER_DAY);
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    let fraction = micros.rem_euclid(MICROS_PER_SECOND);
    // Writing to a Vec cannot fail.
    let _ = write!(out, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{fraction:06}Z");
}

fn fraction(rest: &[u8]) -> Option<(i64, &[u8])> {
    let Some((b'.', digits)) = rest.split_first() else {
        return Some((0, rest));
    };
    let count = digits.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if count == 0 || count > 9 {
        return None;
    }
    let (fraction, rest) = digits.split_at(count);
    let padded = fraction.iter().chain(std::iter::repeat(&b'0')).take(6);
    let micros = padded.fold(0, |micros, digit| micros * 10 + i64::from(digit - b'0'));
    Some((micros, rest))
}

fn offset(rest: &[u8]) -> Option<i64> {
    match rest {
        [b'Z' | b'z'] => Some(0),
        [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] => {
            let (hours, minutes) = (two_digits(*h1, *h2)?, two_digits(*m1, *m2)?);
            if hours > 23 || minutes > 59 {
                return None;
            }
            let total = hours * 60 + minutes;
            Some(if *sign == b'-' { -total } else { total })
        }
        _ => None,
    }
}

#[inline]
fn two_digits(tens: u8, ones: u8) -> Option<i64> {
    let (tens, ones) = (tens.wrapping_sub(b'0'), ones.wrapping_sub(b'0'));
    if tens > 9 || ones > 9 {
        return None;
    }
    Some(i64::from(tens) * 10 + i64::from(ones))
}

fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => 31,
    }
}

/// Days since 1970-01-01 of a proleptic Gregorian date (Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms").
#[inline]
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year - era * 400;
    let day_of_year = (153 * (month + if month > 2 { -3 } else { 9 }) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted - era * 146_097;
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_known_instants() {
        assert_eq!(parse_rfc3339(b"1970-01-01T00:00:00Z"), Some(0));
        assert_eq!(parse_rfc3339(b"2026-03-01T12:00:00.123456789+01:30"), Some(1_772_361_000_123_456));
        assert_eq!(parse_rfc3339(b"2000-02-29t23:59:59z"), Some(951_868_799_000_000));
        assert_eq!(parse_rfc3339(b"0001-01-01T00:00:00Z"), Some(FIRST_MICROS));
        assert_eq!(parse_rfc3339(b"9999-12-31T23:59:59.999999Z"), Some(LAST_MICROS));
    }

    #[test]
    fn refuses_what_rfc3339_forbids() {
        for bad in [
            "2026-03-01 12:00:00Z",
            "2026-03-01T12:00:00",
            "2026-03-01T12:00Z",
            "2026-02-29T12:00:00Z",
            "2026-13-01T12:00:00Z",
            "2026-00-01T12:00:00Z",
            "2026-01-00T12:00:00Z",
            "0000-01-01T12:00:00Z",
            "2026-03-01T24:00:00Z",
            "2026-03-01T12:60:00Z",
            "2016-12-31T23:59:60Z",
            "2026-03-01T12:00:00.Z",
            "2026-03-01T12:00:00.1234567890Z",
            "2026-03-01T12:00:00,5Z",
            "2026-03-01T12:00:00+24:00",
            "2026-03-01T12:00:00+01:60",
            "2026-03-01T12:00:00+0100",
            "2026-03-01T12:00:00+01",
            "2026-03-01T12:00:00Z ",
            " 2026-03-01T12:00:00Z",
            "+2026-03-01T12:00:00Z",
            "２026-03-01T12:00:00Z",
            "",
        ] {
            assert_eq!(parse_rfc3339(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn a_new_reader_remembers_no_minute() {
        for text in [&b"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0:00.000000Z"[..], b":00.000000Z", b""] {
            assert_eq!(TimeReader::default().parse(text), None);
        }
    }

    proptest! {
        #[test]
        fn a_reader_reads_as_if_each_time_were_its_first(times in prop::collection::vec((0i64..200_000_000, "(Z|z|\\+00:00|-01:30)", 0usize..8, prop::option::of((0usize..29, "[ -~]"))), 0..30)) {
            let mut reader = TimeReader::default();
            for (micros, zone, digits, damage) in times {
                let mut text = Vec::new();
                format_rfc3339(1_772_366_400_000_000 + micros, &mut text);
                text.truncate(if digits == 0 { 19 } else { 20 + digits.min(6) });
                text.extend_from_slice(zone.as_bytes());
                if let Some((at, other)) = damage {
                    let at = at.min(text.len() - 1);
                    text[at] = other.as_bytes()[0];
                }
                prop_assert_eq!(reader.parse(&text), parse_rfc3339(&text), "{}", String::from_utf8_lossy(&text));
            }
        }

        #[test]
        fn agrees_with_jiff(micros in FIRST_MICROS + 93_600_000_000..=LAST_MICROS - 93_600_000_000, offset in -1439i32..=1439) {
            let zone = jiff::tz::Offset::from_seconds(offset * 60).unwrap();
            let stamp = jiff::Timestamp::from_microsecond(micros).unwrap();
            let text = stamp.display_with_offset(zone).to_string();
            prop_assert_eq!(parse_rfc3339(text.as_bytes()), Some(micros), "{}", text);
        }

        #[test]
        fn writes_what_it_reads(micros in FIRST_MICROS..=LAST_MICROS) {
            let mut text = Vec::new();
            format_rfc3339(micros, &mut text);
            prop_assert_eq!(parse_rfc3339(&text), Some(micros));
            let jiff: jiff::Timestamp = std::str::from_utf8(&text).unwrap().parse().unwrap();
            prop_assert_eq!(jiff.as_microsecond(), micros);
        }

        #[test]
        fn never_reads_what_jiff_refuses(text in "[0-9]{4}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-6][0-9]:[0-5][0-9](\\.[0-9]{1,9})?(Z|[+-][0-2][0-9]:[0-6][0-9])") {
            if let Some(micros) = parse_rfc3339(text.as_bytes()) {
                if let Ok(stamp) = text.parse::<jiff::Timestamp>() {
                    // Ours cuts finer digits off, towards the past.
                    prop_assert_eq!(stamp.as_nanosecond().div_euclid(1000) as i64, micros);
                } else {
                    // jiff's range ends one offset short of ours, and it has no year 0.
                    prop_assert!(text.starts_with("0000") || text.starts_with("0001-01-01") || text.starts_with("9999-12-31"), "{}", text);
                }
            }
        }
    }
}
