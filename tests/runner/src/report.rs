//! Report of a run: the tests, their outcomes, and the time that each step took.

use std::process::ExitStatus;
use std::time::{Duration, Instant};

use serde_json::Value;

/// The number of slowest steps and tests that are listed.
const SLOWEST: usize = 10;

/// The outcome of a test.
pub(crate) enum Outcome {
    Passed,
    /// Failed, with its output.
    Failed(String),
    Ignored,
}

impl Outcome {
    /// The outcome in an event of the harness, or `None` if the event does not end a test.
    pub(crate) fn of(event: &Value) -> Option<Self> {
        match event["event"].as_str()? {
            "ok" => Some(Self::Passed),
            "failed" => Some(Self::Failed(event["stdout"].as_str().unwrap_or_default().to_owned())),
            "ignored" => Some(Self::Ignored),
            _ => None,
        }
    }

    pub(crate) fn exceeded(limit: Duration) -> Self {
        Self::Failed(format!("exceeded its time limit of {} s and was killed", limit.as_secs()))
    }

    pub(crate) fn ended(status: ExitStatus) -> Self {
        Self::Failed(format!("ended the test process: {status}"))
    }
}

/// The report of the whole run.
pub(crate) struct Report {
    start: Instant,
    steps: Vec<(String, Duration)>,
    tests: Vec<(String, Duration)>,
    failures: Vec<(String, String)>,
    passed: usize,
    ignored: usize,
}

impl Report {
    pub(crate) fn start() -> Self {
        let start = Instant::now();
        Self { start, steps: vec![], tests: vec![], failures: vec![], passed: 0, ignored: 0 }
    }

    /// Runs a step and records its duration.
    pub(crate) fn step<T>(&mut self, name: &str, work: impl FnOnce() -> T) -> T {
        self.timed(name, |_| work())
    }

    /// Runs a step that adds to the report, and records its duration.
    pub(crate) fn timed<T>(&mut self, name: &str, work: impl FnOnce(&mut Self) -> T) -> T {
        let start = Instant::now();
        let done = work(self);
        self.steps.push((name.to_owned(), start.elapsed()));
        done
    }

    /// Adds another report of the same run.
    pub(crate) fn absorb(&mut self, other: Self) {
        let Self { start: _, steps, tests, failures, passed, ignored } = other;
        self.steps.extend(steps);
        self.tests.extend(tests);
        self.failures.extend(failures);
        self.passed += passed;
        self.ignored += ignored;
    }

    /// Adds the outcome of a test, and prints it.
    pub(crate) fn test(&mut self, binary: &str, name: &str, took: Duration, outcome: Outcome) {
        let name = format!("{binary} {name}");
        let said = match outcome {
            Outcome::Passed => {
                self.passed += 1;
                "ok"
            }
            Outcome::Ignored => {
                self.ignored += 1;
                "ignored"
            }
            Outcome::Failed(output) => {
                self.failures.push((name.clone(), output));
                "FAILED"
            }
        };
        println!("{said:>7} {:>7.1} s  {name}", took.as_secs_f64());
        self.tests.push((name, took));
    }

    /// Returns true if at least one test ran and none failed.
    pub(crate) fn passed(&self) -> bool {
        self.passed > 0 && self.failures.is_empty()
    }

    pub(crate) fn print(&mut self) {
        for (name, output) in &self.failures {
            println!("\n---- {name}\n{output}");
        }
        for (title, times) in [("steps", &mut self.steps), ("tests", &mut self.tests)] {
            times.sort_by_key(|(_, took)| std::cmp::Reverse(*took));
            println!("\nthe slowest {title}, of {:.0} s:", self.start.elapsed().as_secs_f64());
            for (name, took) in times.iter().take(SLOWEST) {
                println!("{:>9.1} s  {name}", took.as_secs_f64());
            }
        }
        for (name, _) in &self.failures {
            println!("FAILED  {name}");
        }
        println!("\n{} passed, {} failed, {} skipped", self.passed, self.failures.len(), self.ignored);
    }
}
