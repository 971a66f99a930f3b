//! `[deploy]`, in either file: the watch over a newly deployed version.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::check::{Field, Section};

pub(super) const KEYS: &[&str] = &["watch", "max-failures"];

const WATCH: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(24 * 60 * 60);
const WATCH_DEFAULT: Duration = Duration::from_secs(60);
/// 5 %.
const FAILURES_DEFAULT: u32 = 500;

/// The watch over a newly deployed version. A version that fails more often than this is rolled back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeployPolicy {
    /// The duration of the watch.
    pub watch: Duration,
    /// The maximum share of its records that may fail, in hundredths of a percent.
    pub failures_max: u32,
}

/// Reads the section. Returns `None` if there is none.
pub(super) fn policy(section: &Section<'_>) -> Option<DeployPolicy> {
    if !section.exists() {
        return None;
    }
    let watch = section.field("watch").and_then(|field| field.duration(WATCH));
    let failures_max = section.field("max-failures").and_then(|field| percent(&field));
    Some(DeployPolicy { watch: watch.unwrap_or(WATCH_DEFAULT), failures_max: failures_max.unwrap_or(FAILURES_DEFAULT) })
}

/// Reads a percentage, in hundredths of a percent.
pub(super) fn percent(field: &Field<'_>) -> Option<u32> {
    let text = field.text()?;
    let hundredths = || {
        let (whole, part) =
            text.strip_suffix('%')?.trim_end().split_once('.').unwrap_or((text.strip_suffix('%')?.trim_end(), ""));
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(whole) || part.len() > 2 || (text.contains('.') && !digits(part)) {
            return None;
        }
        let hundredths = format!("{whole}{part:0<2}").parse().ok()?;
        (hundredths <= 10_000).then_some(hundredths)
    };
    let found = hundredths();
    if found.is_none() {
        field.problem(
            &format!("`{text}` is not a part of the records"),
            "write it like \"5%\" or \"0.5%\", from 0% to 100%",
        );
    }
    found
}
