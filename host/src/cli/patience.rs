//! Waiting for a registry that is in a topic of the log, while a host starts: what keeps it from being read or written
//! passes by itself, or when somebody has seen to it.

use std::time::{Duration, Instant};

use anyhow::Result;

use crate::admin::{Listening, Waiting};
use crate::registry::RegistryError;

/// The pause before the registry is asked again; then twice as long each time.
const PAUSE: Duration = Duration::from_secs(1);
/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// The interval at which an outage that lasts is reported.
const REPORT_EVERY: Duration = Duration::from_secs(60);

/// Does something that needs the registry, again and again while the log does not let it be read or written. Health
/// checks of `listening` report it meanwhile; without it, gives up at once.
pub(super) fn for_registry<T>(listening: Option<&Listening>, attempt: impl Fn() -> Result<T>) -> Result<T> {
    let (mut pause, mut reported, mut waiting) = (PAUSE, None::<(String, Instant)>, None::<Waiting>);
    loop {
        let (error, listening) = match (attempt(), listening) {
            (Err(error), Some(listening)) if is_outage(&error) => (error, listening),
            (done, _) => return done,
        };
        let why = format!("waiting for the schema registry: {error:#}");
        match &waiting {
            Some(waiting) => waiting.tell(why.clone()),
            None => waiting = Some(listening.wait(why.clone())?),
        }
        if reported.as_ref().is_none_or(|(before, at)| *before != why || at.elapsed() >= REPORT_EVERY) {
            tracing::error!(target: "heddle::alert", error = format!("{error:#}"), "waiting for the schema registry");
            reported = Some((why, Instant::now()));
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

/// Returns true if the log is at fault, and not what the registry holds or was asked for.
fn is_outage(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| matches!(cause.downcast_ref(), Some(RegistryError::Log { .. })))
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use anyhow::{anyhow, bail};

    use super::*;
    use crate::admin::{Access, listen};

    fn outage() -> anyhow::Error {
        RegistryError::Log { topic: "heddle.registry".to_owned(), cause: "it is read-only".to_owned() }.into()
    }

    #[test]
    fn an_outage_of_the_log_is_waited_for() {
        let attempts = Cell::new(0);
        let attempt = || {
            attempts.set(attempts.get() + 1);
            if attempts.get() == 1 { Err(outage().context("starting")) } else { Ok(attempts.get()) }
        };
        let listening = listen("127.0.0.1:0".parse().unwrap(), Access::default()).unwrap();
        assert_eq!(for_registry(Some(&listening), attempt).unwrap(), 2);
    }

    #[test]
    fn other_errors_are_not_waited_for() {
        let listening = listen("127.0.0.1:0".parse().unwrap(), Access::default()).unwrap();
        assert!(for_registry(None, || -> Result<()> { Err(outage()) }).is_err());
        assert!(for_registry(Some(&listening), || -> Result<()> { bail!("no") }).is_err());
        assert!(!is_outage(&anyhow!("the log cannot be reached")));
    }
}
