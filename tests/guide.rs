//! Pages of the guide. The tests run everything in them as printed, and compare the output with the page.
//!
//! ````text
//!  ```sh            is run, in the folder that the one before it ended in, with what that exported
//!  ```text          what the commands before it print; `…` stands for anything
//!  `a/file`:        at the end of a line: the block that follows is written to that file
//!  ```ini example   is only shown; no command may be in it
//! ````
//!
//! There are no other kinds of blocks, so every command of a page is run.
//!
//! Processes that a page leaves in the background, such as a host, end with the page.
use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use heddle::build::cache_folder;

/// The time limit of one block. The first build of a language fetches its tools.
const LIMIT: Duration = Duration::from_secs(300);

/// One fenced block of a page, and the line of text before it.
struct Block {
    kind: String,
    before: String,
    text: String,
}

fn blocks(page: &str) -> Vec<Block> {
    let (mut found, mut open, mut before) = (vec![], None::<Block>, String::new());
    for line in page.lines() {
        match (&mut open, line.strip_prefix("```")) {
            (None, Some(kind)) => open = Some(Block { kind: kind.into(), before: before.clone(), text: String::new() }),
            (Some(_), Some(_)) => {
                found.extend(open.take());
                before.clear();
            }
            (Some(block), None) => block.text += &format!("{line}\n"),
            (None, None) if !line.is_empty() => before = line.to_owned(),
            (None, None) => {}
        }
    }
    found
}

/// Returns true if a block is only shown, because it belongs on other machines or to an unavailable log.
///
/// # Panics
/// If it shows a command, which would have to be run.
fn is_example(block: &Block) -> bool {
    let is_example = block.kind.ends_with(" example");
    let kind = block.kind.split(' ').next().unwrap();
    let is_command = |line: &str| line.starts_with("heddle ") || line.starts_with("$ ");
    let has_commands = ["sh", "bash", "shell", "console"].contains(&kind) || block.text.lines().any(is_command);
    assert!(!is_example || !has_commands, "this command is not run:\n{}", block.text);
    is_example
}

/// The file to which a block is written, if any.
fn file(block: &Block) -> Option<&str> {
    block.before.strip_suffix("`:")?.rsplit('`').next()
}

/// The process groups of the shells that a page started. They are killed when this is dropped.
#[derive(Default)]
struct Started(Vec<u32>);

impl Started {
    fn end(&self) {
        for group in &self.0 {
            // Most have ended by themselves.
            let _ = Command::new("kill").args(["-KILL", "--", &format!("-{group}")]).stderr(Stdio::null()).status();
        }
    }

    /// Returns the result of `wait`. Ends a page that waits for something that never comes.
    fn in_time<T>(&self, commands: &str, wait: impl FnOnce() -> T) -> T {
        let (done, heard) = std::sync::mpsc::channel::<()>();
        std::thread::scope(|scope| {
            scope.spawn(move || {
                if heard.recv_timeout(LIMIT) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
                    eprintln!("this takes longer than {LIMIT:?}:\n{commands}");
                    self.end();
                }
            });
            let waited = wait();
            drop(done);
            waited
        })
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        self.end();
    }
}

/// The state that one block leaves to the next: its last folder, and the variables that it exported.
struct Shell {
    place: PathBuf,
    exported: tempfile::NamedTempFile,
    started: Started,
}

impl Shell {
    fn new(place: &Path) -> Self {
        let exported = tempfile::NamedTempFile::new().unwrap();
        Self { place: place.to_owned(), exported, started: Started::default() }
    }

    /// Runs commands as if all blocks were typed into one shell. Returns their standard output.
    fn run(&mut self, commands: &str) -> String {
        let heddle = Path::new(env!("CARGO_BIN_EXE_heddle")).parent().unwrap();
        let path = format!("{}:{}", heddle.display(), std::env::var("PATH").unwrap());
        let ended = tempfile::NamedTempFile::new().unwrap();
        let mut sh = Command::new("sh");
        sh.env_remove("RUSTC_BOOTSTRAP");
        sh.args(["-euc", &format!(". \"$2\"\n{commands}\npwd > \"$1\"\nexport -p > \"$2\""), "sh"]);
        sh.args([ended.path(), self.exported.path()]).current_dir(&self.place);
        // Tests run in parallel, so none may take the default port. The compiled tests of components are cached.
        sh.env("PATH", path).env("HEDDLE_ADMIN_LISTEN", "127.0.0.1:0");
        sh.env("CARGO_TARGET_DIR", cache_folder().join("native-target"));
        let sh =
            sh.process_group(0).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        self.started.0.push(sh.id());
        let done = self.started.in_time(commands, || sh.wait_with_output().unwrap());
        let [out, err] = [done.stdout, done.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
        assert!(done.status.success(), "{commands}\n{out}{err}");
        self.place = PathBuf::from(fs::read_to_string(ended.path()).unwrap().trim());
        out
    }
}

/// Returns true if the output matches the page, where `…` stands for any text within a line.
fn fits(printed: &str, page: &str) -> bool {
    let line = |(printed, page): (&str, &str)| {
        let mut rest = printed;
        let parts = page.split('…').collect::<Vec<_>>();
        let found = parts.iter().enumerate().all(|(n, part)| match rest.find(part) {
            Some(at) if n > 0 || at == 0 => {
                rest = &rest[at + part.len()..];
                true
            }
            _ => false,
        });
        found && (rest.is_empty() || page.ends_with('…'))
    };
    printed.lines().count() == page.lines().count() && printed.lines().zip(page.lines()).all(line)
}

fn follow(page: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/guide").join(page);
    let folder = tempfile::tempdir().unwrap();
    let (mut shell, mut printed, mut compared) = (Shell::new(folder.path()), String::new(), 0);
    for block in blocks(&fs::read_to_string(path).unwrap()) {
        match (block.kind.as_str(), file(&block)) {
            ("sh", _) => printed = shell.run(&block.text),
            ("text", _) => {
                assert!(fits(&printed, &block.text), "{page} says\n{}\nand this is printed\n{printed}", block.text);
                compared += 1;
            }
            _ if is_example(&block) => {}
            (_, Some(file)) => fs::write(shell.place.join(file), block.text).unwrap(),
            (kind, None) => panic!("{page}: what is a block of {kind} after `{}`?", block.before),
        }
    }
    assert!(compared >= 2, "{page} shows what comes out");
}

/// Makes a test of each page, and a list of all pages.
macro_rules! pages {
    ($($test:ident: $page:literal,)+) => {
        const PAGES: &[&str] = &[$($page),+];
        $(
            #[test]
            fn $test() {
                follow($page);
            }
        )+
    };
}

pages! {
    a_first_component_in_rust: "first-component-rust.md",
    a_first_component_in_javascript: "first-component-javascript.md",
    a_first_component_in_python: "first-component-python.md",
    a_first_component_in_go: "first-component-go.md",
    contracts: "contracts.md",
    deploying: "deploying.md",
    failures: "failures.md",
    from_debezium: "from-debezium.md",
    from_spring_kafka: "from-spring-kafka.md",
    observability: "observability.md",
    plain_json: "plain-json.md",
    reload: "reload.md",
    state: "state.md",
    tables: "tables.md",
}

#[test]
fn no_page_is_left_out() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/guide");
    for entry in fs::read_dir(folder).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(PAGES.contains(&name.as_str()), "{name} is not followed");
    }
}

#[test]
fn every_shown_command_is_run() {
    let of = |kind: &str, text: &str| {
        let block = Block { kind: kind.into(), before: String::new(), text: text.into() };
        std::panic::catch_unwind(|| is_example(&block)).ok()
    };
    assert_eq!([of("sh", "heddle run\n"), of("toml example", "[deploy]\n")], [Some(false), Some(true)]);
    for (kind, text) in [("sh example", "ls\n"), ("console example", ""), ("text example", "a\nheddle run\n")] {
        assert_eq!(of(kind, text), None, "{kind}");
    }
}

#[test]
fn printed_output_must_match_the_page() {
    assert!(fits("a 12 b\nc\n", "a … b\nc\n") && fits("ab\n", "a…\n") && fits("", ""));
    for page in ["a … c\nc\n", "… 12\nc\n", "a 12 b\n", "a 12 b\nc\nd\n", "12 b\nc\n"] {
        assert!(!fits("a 12 b\nc\n", page), "{page}");
    }
}
