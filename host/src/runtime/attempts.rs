//! The back-off of a worker that failed, and the times at which its fault is logged.
//!
//! ```text
//!  a fault that passes (fenced, no answer) ──> again after 500 ms
//!  one that an operator has to fix ──────────> 1 s, 2 s, 4 s, ... 30 s
//! ```

use std::time::{Duration, Instant};

use super::fault::WorkerFault;
use crate::log::LogError;
use crate::state::{ReplayError, StateError};

/// The wait before another attempt to join a group.
const REJOIN_WAIT: Duration = Duration::from_millis(500);
/// The first wait if an operator has to act. It doubles with each fault in a row.
const HELP_WAIT: Duration = Duration::from_secs(1);
/// The longest wait.
const HELP_WAIT_MAX: Duration = Duration::from_secs(30);
/// A worker that ran for this long had recovered, so its next fault is a new one.
const WORKED: Duration = Duration::from_secs(60);
/// The interval between log lines about a fault that lasts.
const LOGGED_EVERY: Duration = Duration::from_secs(60);

/// The faults in a row of one worker.
#[derive(Default)]
pub(super) struct Attempts {
    /// The last fault, the number of times in a row, and its time.
    last: Option<(String, u32, Instant)>,
    logged: Option<Instant>,
}

/// The reaction to a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Next {
    /// The wait before joining again.
    pub(super) wait: Duration,
    /// True if the fault is logged now.
    pub(super) tell: bool,
    /// True if an operator has to act.
    pub(super) help: bool,
}

impl Attempts {
    /// Records a fault.
    pub(super) fn failed(&mut self, fault: &WorkerFault, now: Instant) -> Next {
        let text = fault.to_string();
        let in_a_row = |(last, count, at): (String, u32, Instant)| {
            (last == text && now.saturating_duration_since(at) < WORKED).then_some(count)
        };
        let before = self.last.take().and_then(in_a_row).unwrap_or(0);
        self.last = Some((text, before.saturating_add(1), now));
        let help = needs_help(fault);
        let wait = if help { HELP_WAIT.saturating_mul(1 << before.min(10)).min(HELP_WAIT_MAX) } else { REJOIN_WAIT };
        let long_ago = self.logged.is_none_or(|at| now.saturating_duration_since(at) >= LOGGED_EVERY);
        let tell = before == 0 || long_ago;
        if tell {
            self.logged = Some(now);
        }
        Next { wait, tell, help }
    }
}

/// Returns true if the fault lasts until an operator grants, configures or repairs something.
fn needs_help(fault: &WorkerFault) -> bool {
    let state = |error: &StateError| matches!(error, StateError::Unusable { .. } | StateError::Full { .. });
    match fault {
        WorkerFault::Log(LogError::Hindered(_)) => true,
        WorkerFault::State(error) | WorkerFault::Replay(ReplayError::State(error)) => state(error),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_that_pass_are_retried_soon_and_others_with_a_growing_back_off() {
        let (mut attempts, start) = (Attempts::default(), Instant::now());
        let fenced = WorkerFault::Log(LogError::Fenced("by another".to_owned()));
        let denied = WorkerFault::Log(LogError::Hindered("no right".to_owned().into()));
        let soon = attempts.failed(&fenced, start);
        assert_eq!(soon, Next { wait: REJOIN_WAIT, tell: true, help: false });
        assert_eq!(attempts.failed(&fenced, start), Next { tell: false, ..soon });
        let waits = (0..7).map(|_| attempts.failed(&denied, start).wait.as_secs()).collect::<Vec<_>>();
        assert_eq!(waits, [1, 2, 4, 8, 16, 30, 30]);
        // The fault lasts, so it is logged once in a while.
        let later = attempts.failed(&denied, start + LOGGED_EVERY / 2);
        assert!(!later.tell && later.help);
        assert!(attempts.failed(&denied, start + LOGGED_EVERY).tell);
        // The worker ran for a while.
        let anew = attempts.failed(&denied, start + LOGGED_EVERY + WORKED);
        assert_eq!((anew.wait, anew.tell), (HELP_WAIT, true));
    }
}
