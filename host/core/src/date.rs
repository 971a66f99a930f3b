//! Points in time as text.

use crate::event::Timestamp;

const DAY_MS: i64 = 24 * 3_600 * 1_000;

/// Formats a time as RFC 3339 in UTC, to the millisecond: `2026-03-01T12:30:00.250Z`.
#[must_use]
pub fn rfc3339(time: Timestamp) -> String {
    let (year, month, day) = civil(time.0.div_euclid(DAY_MS));
    let ms = time.0.rem_euclid(DAY_MS);
    let (hour, minute, second) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1_000 % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z", ms % 1_000)
}

/// Converts a day counted from 1970-01-01 to year, month and day. Years begin in March here, so that a leap day is the
/// last of its year.
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day_of_year - (153 * from_march + 2) / 5 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_before_and_after_leap_days() {
        let told = [-1, 0, 951_782_400_000, 951_868_800_000, 1_709_164_799_999, 4_107_542_400_000];
        assert_eq!(
            told.map(|ms| rfc3339(Timestamp(ms))),
            [
                "1969-12-31T23:59:59.999Z",
                "1970-01-01T00:00:00.000Z",
                "2000-02-29T00:00:00.000Z",
                "2000-03-01T00:00:00.000Z",
                "2024-02-28T23:59:59.999Z",
                "2100-03-01T00:00:00.000Z",
            ]
        );
    }
}
