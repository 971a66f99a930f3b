//! Standard output and standard error. All output of the process passes through here and is escaped by [`printable`].
//!
//! `println!` and `eprintln!` are shadowed for the whole crate, so that no command can bypass it. They escape whole
//! texts and keep their line breaks. A foreign value within a line must go through [`printable::line`] first.

use std::fmt::Arguments;
use std::io::{ErrorKind, IsTerminal as _, Write};
use std::process::exit;

use serde::Serialize;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::fmt::format::{DefaultFields, Writer};
use tracing_subscriber::fmt::time::{FormatTime as _, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use crate::printable;

/// The exit code after the reader has closed the pipe: the code that a shell reports for SIGPIPE.
const CLOSED_PIPE: i32 = 141;

/// Prints a line to standard output.
macro_rules! println {
    ($($text:tt)*) => { $crate::output::print(format_args!($($text)*), false) };
}

/// Prints a line to standard error.
macro_rules! eprintln {
    ($($text:tt)*) => { $crate::output::complain(format_args!($($text)*)) };
}

/// Prints a line to standard output, unescaped if `raw` is set. Ends the process if the output cannot be written.
pub(crate) fn print(text: Arguments<'_>, raw: bool) {
    let mut line = text.to_string();
    if !raw {
        line = printable::text(&line).into_owned();
    }
    line.push('\n');
    if let Err(error) = std::io::stdout().lock().write_all(line.as_bytes()) {
        if error.kind() == ErrorKind::BrokenPipe {
            // The reader has closed the pipe, as in `heddle status | head -1`. That is not an error.
            exit(CLOSED_PIPE);
        }
        complain(format_args!("error: cannot write to standard output: {error}"));
        exit(1);
    }
}

/// Prints a line to standard error. A failure cannot be reported anywhere.
pub(crate) fn complain(text: Arguments<'_>) {
    let line = format!("{}\n", printable::text(&text.to_string()));
    let _ = std::io::stderr().lock().write_all(line.as_bytes());
}

/// Returns true if the log may use colours: standard error is a terminal, and `NO_COLOR` is not set
/// (<https://no-color.org>).
pub(crate) fn has_colours() -> bool {
    std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Writes the fields of a log line, escaped, on one line.
pub(crate) struct Fields;

impl<'w> FormatFields<'w> for Fields {
    fn format_fields<R: RecordFields>(&self, mut writer: Writer<'w>, fields: R) -> std::fmt::Result {
        let mut text = String::new();
        DefaultFields::new().format_fields(Writer::new(&mut text), fields)?;
        writer.write_str(&printable::line(&text))
    }
}

/// Writes log lines as JSON, one object per line, escaped.
pub(crate) struct JsonLines;

impl<S, N> FormatEvent<S, N> for JsonLines
where
    S: Subscriber + for<'l> LookupSpan<'l>,
    N: for<'w> FormatFields<'w> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> std::fmt::Result {
        let mut timestamp = String::new();
        SystemTime.format_time(&mut Writer::new(&mut timestamp))?;
        let mut line = JsonLine::default();
        line.field("timestamp", &timestamp);
        line.field("level", event.metadata().level().as_str());
        line.field("target", event.metadata().target());
        event.record(&mut line);
        writeln!(writer, "{{{}}}", printable::line(&line.0))
    }
}

/// The members of a JSON object.
#[derive(Default)]
struct JsonLine(String);

impl JsonLine {
    fn field(&mut self, name: &str, value: impl Serialize) {
        // Values of these types can always be written.
        let (Ok(name), Ok(value)) = (serde_json::to_string(name), serde_json::to_string(&value)) else { return };
        let comma = if self.0.is_empty() { "" } else { "," };
        self.0.extend([comma, &name, ":", &value]);
    }
}

impl Visit for JsonLine {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.field(field.name(), value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.field(field.name(), value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.field(field.name(), value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.field(field.name(), value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.field(field.name(), value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.field(field.name(), format!("{value:?}"));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use heddle_core::explain::Explained;

    use super::*;

    /// Keeps what a subscriber writes.
    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_log_line_is_one_line_whatever_it_quotes() {
        let written = Written::default();
        let writer = written.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_writer(move || writer.clone())
            .without_time()
            .with_ansi(false)
            .fmt_fields(Fields)
            .finish();
        tracing::subscriber::with_default(subscriber, || {
            let hostile = "\u{1b}[2J\n ERROR forged\u{202e}";
            let _span = tracing::error_span!("span", hostile).entered();
            tracing::error!(debug = ?hostile, display = %hostile, "a message: {hostile}");
            let error = Explained::new(hostile).at("a\nfile").hint("make it readable");
            tracing::error!(%error, at = error.place, hint = error.remedy, "cannot read");
        });
        let text = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
        assert_eq!(text.lines().count(), 2, "{text}");
        assert!(text.ends_with(" at=\"a\\nfile\" hint=\"make it readable\"\n"), "{text}");
        assert!(!text.replace('\n', "").contains(|c: char| c.is_control() || c == '\u{202e}'), "{text:?}");
    }

    #[test]
    fn a_json_line_is_one_object_whatever_it_quotes() {
        let written = Written::default();
        let writer = written.clone();
        let subscriber = tracing_subscriber::fmt().event_format(JsonLines).with_writer(move || writer.clone()).finish();
        tracing::subscriber::with_default(subscriber, || {
            let hostile = "\u{1b}[2J\n \"forged\": \u{202e}";
            tracing::error!(offset = 7, partition = -1i32, is = true, why = hostile, %hostile, "a message: {hostile}");
        });
        let text = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(!text.trim_end().contains(|c: char| c.is_control() || c == '\u{202e}'), "{text:?}");
        let line = serde_json::from_str::<serde_json::Value>(&text).unwrap();
        let found = ["level", "offset", "partition", "is"].map(|name| line[name].to_string());
        assert_eq!(found, ["\"ERROR\"", "7", "-1", "true"]);
        assert_eq!(line["why"], "\u{1b}[2J\n \"forged\": \u{202e}");
        assert!(line["message"].as_str().unwrap().starts_with("a message"), "{line}");
    }
}
