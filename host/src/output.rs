//! Standard output and standard error. All that the process prints passes through here and is escaped as [`printable`]
//! says.
//!
//! `println!` and `eprintln!` are shadowed for the whole crate, so that no command can forget it. They escape whole
//! texts, whose line breaks are meant; a value from elsewhere that stands in a line goes through [`printable::line`]
//! before.

use std::fmt::Arguments;
use std::io::{ErrorKind, IsTerminal as _, Write};
use std::process::exit;

use tracing_subscriber::field::RecordFields;
use tracing_subscriber::fmt::FormatFields;
use tracing_subscriber::fmt::format::{DefaultFields, Writer};

use crate::printable;

/// What the process ends with when whoever reads its output has read enough, as a shell tells it of SIGPIPE.
const CLOSED_PIPE: i32 = 141;

/// Prints a line to standard output.
macro_rules! println {
    ($($text:tt)*) => { $crate::output::print(format_args!($($text)*), false) };
}

/// Prints a line to standard error.
macro_rules! eprintln {
    ($($text:tt)*) => { $crate::output::complain(format_args!($($text)*)) };
}

/// Prints a line to standard output; `raw` as it is, otherwise escaped. Ends the process if nobody can read it.
pub(crate) fn print(text: Arguments<'_>, raw: bool) {
    let mut line = text.to_string();
    if !raw {
        line = printable::text(&line).into_owned();
    }
    line.push('\n');
    if let Err(error) = std::io::stdout().lock().write_all(line.as_bytes()) {
        if error.kind() == ErrorKind::BrokenPipe {
            // As in `heddle status | head -1`: no news to anybody.
            exit(CLOSED_PIPE);
        }
        complain(format_args!("error: cannot write to standard output: {error}"));
        exit(1);
    }
}

/// Prints a line to standard error. If that fails, there is nobody to tell.
pub(crate) fn complain(text: Arguments<'_>) {
    let line = format!("{}\n", printable::text(&text.to_string()));
    let _ = std::io::stderr().lock().write_all(line.as_bytes());
}

/// Returns true if the log may use colours: standard error is a terminal, and nobody asked for none
/// (<https://no-color.org>).
pub(crate) fn has_colours() -> bool {
    std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Writes the fields of a log line, escaped, in one line.
pub(crate) struct Fields;

impl<'w> FormatFields<'w> for Fields {
    fn format_fields<R: RecordFields>(&self, mut writer: Writer<'w>, fields: R) -> std::fmt::Result {
        let mut text = String::new();
        DefaultFields::new().format_fields(Writer::new(&mut text), fields)?;
        writer.write_str(&printable::line(&text))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

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
        });
        let text = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(!text.trim_end().contains(|c: char| c.is_control() || c == '\u{202e}'), "{text:?}");
    }
}
