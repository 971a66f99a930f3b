//! The WASI state of an instance: its clock, its pollables, and unfinished lines.

use crate::guest::lines::{LINE_BYTES_MAX, Lines};

/// The maximum number of streams and pollables of an instance, because they take host memory.
const HANDLES_MAX: usize = 4096;
/// The step of the monotonic clock at each read.
const STEP_NS: u64 = 1_000;
/// The monotonic clock at the start of a delivery; while the component starts, it counts from 0. The value is constant,
/// so that it does not reveal earlier deliveries.
const DELIVERY_NS: u64 = 1_000_000_000;
/// The pollable that is always ready.
const READY: u32 = 0;

/// A pollable.
pub(super) enum Pollable {}

/// An output stream of a component.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::guest) enum Output {
    Stdout,
    Stderr,
}

/// The WASI state of one instance.
#[derive(Debug, Default)]
pub(in crate::guest) struct State {
    handles: usize,
    clock_ns: u64,
    /// The instants of pollables, by their number minus one.
    timers: Vec<Option<u64>>,
    /// The unfinished lines of stdout and stderr.
    begun: [Vec<u8>; 2],
}

impl State {
    /// Resets the clock for a delivery.
    pub(in crate::guest) fn begin(&mut self) {
        self.clock_ns = DELIVERY_NS;
    }

    /// Counts a new handle.
    pub(super) fn hold(&mut self) -> wasmtime::Result<()> {
        if self.handles >= HANDLES_MAX {
            let what = format!("the component holds more than {HANDLES_MAX} streams and pollables of WASI");
            return Err(wasmtime::Error::msg(what));
        }
        self.handles += 1;
        Ok(())
    }

    /// Counts a dropped handle.
    pub(super) fn release(&mut self) {
        self.handles = self.handles.saturating_sub(1);
    }

    /// Reads the clock, which advances it, so a loop that waits for a later time ends.
    pub(super) fn now(&mut self) -> u64 {
        self.clock_ns = self.clock_ns.saturating_add(STEP_NS);
        self.clock_ns
    }

    /// Creates a pollable that is ready at `instant`, or always if there is none.
    pub(super) fn pollable(&mut self, instant: Option<u64>) -> wasmtime::Result<u32> {
        self.hold()?;
        if instant.is_none() {
            return Ok(READY);
        }
        let free = self.timers.iter().position(Option::is_none);
        let place = free.unwrap_or_else(|| {
            self.timers.push(None);
            self.timers.len() - 1
        });
        self.timers[place] = instant;
        // The number is at most HANDLES_MAX.
        Ok(place as u32 + 1)
    }

    /// Drops a pollable.
    pub(super) fn forget(&mut self, pollable: u32) {
        self.release();
        if let Some(timer) = self.timer(pollable) {
            *timer = None;
        }
    }

    fn timer(&mut self, pollable: u32) -> Option<&mut Option<u64>> {
        self.timers.get_mut((pollable as usize).checked_sub(1)?)
    }

    /// The instant of a pollable.
    fn instant(&mut self, pollable: u32) -> u64 {
        self.timer(pollable).and_then(|timer| *timer).unwrap_or(0)
    }

    /// Returns true if a pollable is ready.
    pub(super) fn ready(&mut self, pollable: u32) -> bool {
        self.instant(pollable) <= self.clock_ns
    }

    /// Returns the indices of the ready pollables. If none is ready, advances the clock to the first instant at which
    /// one is. Does not block.
    pub(super) fn wait(&mut self, pollables: &[u32]) -> Vec<u32> {
        let instants = pollables.iter().map(|pollable| self.instant(*pollable)).collect::<Vec<_>>();
        self.clock_ns = self.clock_ns.max(instants.iter().copied().min().unwrap_or(0));
        let ready = (0..).zip(instants).filter(|(_, instant)| *instant <= self.clock_ns);
        ready.map(|(place, _)| place).collect()
    }

    /// Writes bytes to an output. Each finished line goes to the log, truncated to its maximum length.
    pub(in crate::guest) fn write(&mut self, output: Output, bytes: &[u8], lines: &mut Lines, lines_max: usize) {
        let begun = &mut self.begun[output as usize];
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let text = piece.strip_suffix(b"\n").unwrap_or(piece);
            let room = LINE_BYTES_MAX.saturating_sub(begun.len());
            begun.extend(&text[..text.len().min(room)]);
            if text.len() < piece.len() {
                tell(output, begun, lines, lines_max);
            }
        }
    }

    /// Logs the unfinished lines.
    pub(in crate::guest) fn flush(&mut self, lines: &mut Lines, lines_max: usize) {
        for output in [Output::Stdout, Output::Stderr] {
            if !self.begun[output as usize].is_empty() {
                tell(output, &mut self.begun[output as usize], lines, lines_max);
            }
        }
    }
}

fn tell(output: Output, line: &mut Vec<u8>, lines: &mut Lines, lines_max: usize) {
    let level = if output == Output::Stdout { "info" } else { "warn" };
    lines.add(level, &String::from_utf8_lossy(line), lines_max);
    line.clear();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_ends_at_once() {
        let mut state = State::default();
        state.begin();
        let start = state.now();
        let [late, soon] = [5_000_000_000, 3_000_000_000].map(|instant| state.pollable(Some(instant)).unwrap());
        assert!(!state.ready(soon));
        assert_eq!(state.wait(&[late, soon]), [1]);
        assert!(state.ready(soon) && !state.ready(late));
        assert_eq!(state.now(), 3_000_000_000 + STEP_NS);
        let always = state.pollable(None).unwrap();
        assert_eq!(state.wait(&[late, always]), [1]);
        // The next delivery starts with the same clock.
        state.begin();
        assert_eq!(state.now(), start);
    }

    #[test]
    fn handles_are_bounded_and_given_back() {
        let mut state = State::default();
        let held = (0..HANDLES_MAX).map(|_| state.pollable(Some(1)).unwrap()).collect::<Vec<_>>();
        assert!(state.pollable(None).is_err() && state.hold().is_err());
        held.iter().for_each(|pollable| state.forget(*pollable));
        assert_eq!(state.pollable(Some(1)).unwrap(), 1);
        assert_eq!(state.timers.len(), HANDLES_MAX);
    }

    #[test]
    fn bytes_become_lines_however_they_are_cut() {
        let (mut state, mut lines) = (State::default(), Lines::default());
        for bytes in ["a", "b\nc", "\n\nd"] {
            state.write(Output::Stdout, bytes.as_bytes(), &mut lines, 100);
        }
        state.write(Output::Stderr, "x".repeat(3 * LINE_BYTES_MAX).as_bytes(), &mut lines, 100);
        assert!(state.begun[1].len() == LINE_BYTES_MAX);
        state.write(Output::Stderr, b"\xff\n", &mut lines, 100);
        state.flush(&mut lines, 100);
        let told = lines.told();
        let told = told.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        let told = told.map(|line| (line["level"].to_string(), line["message"].as_str().unwrap().len()));
        // Only the last lines are kept, because the long one before `d` does not fit.
        assert_eq!(told.collect::<Vec<_>>().last(), Some(&("\"info\"".to_owned(), 1)));
    }
}
