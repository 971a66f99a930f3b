//! Apache Avro for Java in a process that answers thousands of questions, one per line.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::Value;

pub(crate) struct Java {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Java {
    pub(crate) fn start() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let fetched =
            Command::new("bash").arg(root.join("scripts/fetch-avro")).stderr(Stdio::inherit()).output().unwrap();
        assert!(fetched.status.success(), "this test needs Avro for Java, and scripts/fetch-avro failed (see above)");
        let jars = String::from_utf8(fetched.stdout).unwrap();
        let mut child = Command::new("java")
            .args(["-Xmx512m", "-XX:+UseSerialGC", "-cp", &format!("{}/*", jars.trim())])
            .arg(root.join("tests/java/AvroOracle.java"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("this test needs Java 17 on the PATH");
        let (input, output) = (child.stdin.take(), BufReader::new(child.stdout.take().unwrap()));
        Self { child, input, output }
    }

    /// Sends all questions, in a window that fits into the pipes. Returns the answers in their order.
    pub(crate) fn ask(&mut self, questions: &[Value]) -> Vec<Value> {
        let mut answers = Vec::with_capacity(questions.len());
        let mut line = String::new();
        for some in questions.chunks(16) {
            let input = self.input.as_mut().unwrap();
            some.iter().for_each(|question| writeln!(input, "{question}").unwrap());
            input.flush().unwrap();
            for _ in some {
                line.clear();
                assert_ne!(self.output.read_line(&mut line).unwrap(), 0, "Java ended");
                answers.push(serde_json::from_str(&line).unwrap());
            }
        }
        answers
    }
}

impl Drop for Java {
    fn drop(&mut self) {
        drop(self.input.take());
        let _ended = self.child.wait();
    }
}
