//! Parses times that users write.

use std::time::UNIX_EPOCH;

use heddle_core::event::Timestamp;

use crate::log;

/// Parses a point in time: RFC 3339 (`2026-03-01T12:00:00Z`, also without `T` and `Z`), a day (`2026-03-01`), or a
/// duration before now (`2h`).
///
/// # Errors
/// If it is none of these.
pub(crate) fn point_in_time(text: &str) -> Result<Timestamp, String> {
    let day = || parse(&format!("{text}T00:00:00Z"));
    let ago = || {
        let ago = humantime::parse_duration(text).ok()?;
        Some(Timestamp(log::now().0 - i64::try_from(ago.as_millis()).ok()?))
    };
    let wrong = || "write a time (2026-03-01T12:00:00Z), a day (2026-03-01) or how long ago (2h)".to_owned();
    parse(text).or_else(day).or_else(ago).ok_or_else(wrong)
}

/// Parses a time in RFC 3339.
pub(crate) fn parse(text: &str) -> Option<Timestamp> {
    let time = humantime::parse_rfc3339_weak(text).ok()?;
    let ms = time.duration_since(UNIX_EPOCH).ok()?.as_millis();
    i64::try_from(ms).ok().map(Timestamp)
}
