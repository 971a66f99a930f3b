//! Rules for tests: which run alone, how many run in parallel, and how long each may take.

use std::time::Duration;

/// The binary of the host's tests. They wait for processes and sockets.
pub(crate) const HOST: &str = "all";

/// The time limit of a test that is not listed below. Tests take longer in parallel than alone.
const LIMIT: Duration = Duration::from_secs(300);

/// Tests that take longer on purpose, by the prefix of their name.
const LONGER: [(&str, Duration); 1] = [("under_fire::", Duration::from_secs(600))];

/// Tests that saturate the machine, or that assert what a busy machine cannot give, by the prefix of their name.
const ALONE: [&str; 2] = ["brokers_killed::", "under_fire::"];

/// The time limit of a test at this scale.
pub(crate) fn limit(test: &str, scale: u32) -> Duration {
    let longer = LONGER.iter().find(|(beginning, _)| test.starts_with(beginning));
    longer.map_or(LIMIT, |(_, limit)| *limit) * scale
}

pub(crate) fn runs_alone(test: &str) -> bool {
    ALONE.iter().any(|beginning| test.starts_with(beginning))
}
