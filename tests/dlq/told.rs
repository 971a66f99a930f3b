//! The output that an operator sees.

use std::fmt::Write as _;
use std::process::Output;

use crate::support::app::App;

/// Collects the output, without parts that differ from run to run.
pub(crate) struct Told<'a>(pub(crate) &'a App, pub(crate) String);

impl Told<'_> {
    pub(crate) fn tell(&mut self, arguments: &[&str]) {
        let output = self.0.run(arguments);
        self.output(&arguments.join(" "), &output);
    }

    pub(crate) fn output(&mut self, what: &str, output: &Output) {
        let text = [&output.stdout[..], &output.stderr[..]].concat();
        let text = String::from_utf8(text).unwrap().replace(self.0.folder.to_str().unwrap(), "APP");
        writeln!(self.1, "$ heddle {what}\n{}exit {}\n", redacted(&text), output.status.code().unwrap()).unwrap();
    }
}

/// Replaces times and digests, recognized by their shape.
pub(crate) fn redacted(text: &str) -> String {
    let mut out = String::new();
    for line in text.split_inclusive('\n') {
        let mut line = line.to_owned();
        while let Some(at) = line.find("Z").filter(|at| *at >= 23 && line[at - 13..].starts_with('T')) {
            line.replace_range(at - 23..=at, "<time>");
        }
        if let Some(at) = line.find("sha256:") {
            line.replace_range(at + 7..at + 71, "<digest>");
        }
        if let Some((from, ms)) = line.find("\"timestamp\":").map(|at| (at + 12, line[at + 12..].find(',').unwrap())) {
            line.replace_range(from..from + ms, "0");
        }
        // Removes the place where a guest was compiled and the name of a trap.
        if let Some(at) = line.find("panicked at ") {
            line.truncate(at);
            line.push_str("panicked at <source>\n");
        }
        out.push_str(&line);
    }
    out
}
