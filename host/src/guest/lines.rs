//! The log lines of a handler. They are kept until it has ended, and then logged by this process, each at its level.

use heddle_core::delivery::Delivery;
use heddle_core::trace::Context;
use tracing::Level;
use tracing::field::display;

/// The maximum size of a line in bytes. Longer lines are truncated.
pub(super) const LINE_BYTES_MAX: usize = 8 << 10;

/// The maximum size of the log lines in a dead letter, in bytes.
const TOLD_BYTES_MAX: usize = 8 << 10;

/// The lines of the current delivery.
#[derive(Debug, Default)]
pub(super) struct Lines {
    lines: Vec<(Level, String)>,
    dropped: usize,
}

impl Lines {
    /// Keeps a line. `level` is a case of `log.level` in the WIT. After `lines_max` lines, each further line replaces
    /// the last one.
    pub(super) fn add(&mut self, level: &str, message: &str, lines_max: usize) {
        let level = match level {
            "trace" => Level::TRACE,
            "debug" => Level::DEBUG,
            "warn" => Level::WARN,
            "error" => Level::ERROR,
            _ => Level::INFO,
        };
        if self.lines.len() > lines_max {
            self.lines.pop();
            self.dropped += 1;
        }
        self.lines.push((level, message[..message.floor_char_boundary(LINE_BYTES_MAX)].to_owned()));
    }

    /// The last line, if it has the level `error`. A guest that panics logs its message first.
    pub(super) fn last_words(&self) -> Option<&str> {
        self.lines.last().filter(|(level, _)| *level == Level::ERROR).map(|(_, message)| message.as_str())
    }

    /// The last lines for a dead letter, as JSON with one object per line. There are as many as fit into
    /// [`TOLD_BYTES_MAX`].
    pub(super) fn told(&self) -> String {
        let (mut lines, mut left) = (vec![], TOLD_BYTES_MAX);
        for (level, message) in self.lines.iter().rev() {
            let line = |message: &str| {
                let level = level.as_str().to_ascii_lowercase();
                format!("{}\n", serde_json::json!({ "level": level, "message": message }))
            };
            let mut told = line(message);
            // Not even the last line fits, so only its beginning is kept. An escaped byte takes up to six bytes.
            if lines.is_empty() && told.len() > left {
                told = line(&message[..message.floor_char_boundary(TOLD_BYTES_MAX / 8)]);
            }
            if told.len() > left {
                break;
            }
            left -= told.len();
            lines.push(told);
        }
        lines.into_iter().rev().collect()
    }

    /// Logs all lines that are at least as severe as `least`.
    pub(super) fn tell(self, delivery: &Delivery<'_>, least: Level) {
        let trace_id = Context::of(delivery.record).map(|context| display(context.trace));
        macro_rules! tell {
            ($level:ident, $($message:tt)+) => {
                tracing::event!(
                    target: "component",
                    Level::$level,
                    component = %delivery.component,
                    topic = %delivery.record.source.topic,
                    partition = delivery.record.source.partition.0,
                    offset = delivery.record.offset.0,
                    attempt = delivery.attempt,
                    correlationId = &*delivery.record.correlation_id(),
                    trace_id = trace_id.as_ref(),
                    $($message)+
                )
            };
        }
        for (level, message) in self.lines.into_iter().filter(|(level, _)| *level <= least) {
            match level {
                Level::TRACE => tell!(TRACE, "{message}"),
                Level::DEBUG => tell!(DEBUG, "{message}"),
                Level::INFO => tell!(INFO, "{message}"),
                Level::WARN => tell!(WARN, "{message}"),
                Level::ERROR => tell!(ERROR, "{message}"),
            }
        }
        if self.dropped > 0 {
            tell!(DEBUG, "{} lines before the last one were dropped", self.dropped);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dead_letter_gets_the_last_lines_that_fit() {
        let mut lines = Lines::default();
        (0..90).for_each(|n| lines.add("info", &format!("line {n} {}", "x".repeat(200)), 100));
        lines.add("error", "the last \"word\"\n", 100);
        let told = lines.told();
        assert!((TOLD_BYTES_MAX - 300..=TOLD_BYTES_MAX).contains(&told.len()), "{}", told.len());
        let told =
            told.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()).collect::<Vec<_>>();
        assert_eq!(told.last().unwrap()["message"], "the last \"word\"\n");
        assert_eq!(told.last().unwrap()["level"], "error");
        let numbers = told.iter().filter_map(|line| line["message"].as_str()?.split(' ').nth(1)?.parse().ok());
        let numbers = numbers.collect::<Vec<usize>>();
        assert_eq!(numbers, (90 - numbers.len()..90).collect::<Vec<_>>());
    }

    #[test]
    fn a_line_that_does_not_fit_is_cut() {
        let mut lines = Lines::default();
        lines.add("info", &"\u{1}".repeat(LINE_BYTES_MAX), 100);
        let told = lines.told();
        assert!(told.len() <= TOLD_BYTES_MAX && told.ends_with("}\n"), "{}", told.len());
    }
}
