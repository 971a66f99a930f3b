//! Rules of the source tree that a compiler does not check. Clippy checks the length of functions (`clippy.toml`).
//!
//! ```text
//!  length    no Rust file has more than 500 lines
//!  width     no line of Rust has more than 120 columns, comments included
//!  purity    heddle-core and heddle-contract use only what `PURE` lists of the standard library
//!  arrows    a module of the host uses only what stands below it in `ARROWS`
//!  events    the runtime reports events and writes no log lines of its own
//!  errors    only `cli/report.rs` lays errors out, and it lists every error that explains
//!  phrases   no text has a phrase that `tidy/phrases.rs` bans
//!  pages     docs/architecture.md names every module of tests/main.rs; README and SECURITY.md name existing tests
//! ```

mod phrases;
mod prose;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The most lines of a file.
const FILE_LINES_MAX: usize = 500;
/// The most columns of a line; rustfmt wraps code but neither comments nor strings.
const LINE_COLUMNS_MAX: usize = 120;

/// Folders with Rust that this project wrote.
const FOLDERS: [&str; 6] = ["host", "bench", "tests", "sdk/rust", "guests", "examples"];

/// Each module of `host/src` with the modules that it may use, from the bottom up. A module uses only modules that are
/// listed before it, so there are no circles between modules.
const ARROWS: [(&str, &[&str]); 32] = [
    ("lock", &[]),
    ("tls", &[]),
    ("telemetry", &["lock", "tls"]),
    ("shutdown", &["lock"]),
    ("printable", &[]),
    ("descriptors", &[]),
    ("usage", &[]),
    ("sled_folder", &[]),
    ("disk", &[]),
    ("output", &["printable"]),
    ("log", &["lock", "sled_folder", "disk"]),
    ("times", &["log"]),
    ("serve", &["lock", "tls"]),
    ("guest", &[]),
    ("state", &["lock", "sled_folder", "disk"]),
    ("tables", &["lock", "log", "state"]),
    ("registry", &["sled_folder", "guest", "lock", "tls", "serve", "telemetry"]),
    ("registry_topic", &["log", "registry", "lock"]),
    ("values", &["guest", "registry", "times"]),
    ("runtime", &["shutdown", "log", "guest", "state", "lock", "telemetry"]),
    ("files", &[]),
    ("repartition", &["log", "runtime"]),
    ("build", &["registry", "files"]),
    ("dlq", &["log", "guest", "values", "times"]),
    ("shadow", &["log", "guest", "state", "tables", "registry", "runtime", "build", "values"]),
    ("cluster", &["shutdown", "log", "state", "tls"]),
    ("deploy", &["shutdown", "log", "guest", "tables", "registry", "runtime", "build", "cluster", "lock"]),
    (
        "admin",
        &[
            "shutdown",
            "log",
            "guest",
            "state",
            "tables",
            "registry",
            "runtime",
            "values",
            "dlq",
            "cluster",
            "deploy",
            "serve",
            "tls",
            "lock",
            "descriptors",
            "telemetry",
        ],
    ),
    (
        "host",
        &[
            "log",
            "guest",
            "state",
            "tables",
            "registry",
            "runtime",
            "cluster",
            "deploy",
            "admin",
            "shutdown",
            "telemetry",
        ],
    ),
    (
        "cli",
        &[
            "shutdown",
            "host",
            "log",
            "guest",
            "state",
            "tables",
            "registry",
            "registry_topic",
            "runtime",
            "build",
            "values",
            "dlq",
            "cluster",
            "deploy",
            "shadow",
            "repartition",
            "admin",
            "tls",
            "telemetry",
            "printable",
            "output",
            "times",
            "descriptors",
            "usage",
            "files",
        ],
    ),
    ("lib", &[]),
    ("main", &[]),
];

/// The parts of the standard library that the two pure crates may use. None reads a clock, a file, a socket, the
/// environment or another thread.
const PURE: [&str; 24] = [
    "borrow",
    "cell::RefCell",
    "cmp",
    "collections",
    "error",
    "f64",
    "fmt",
    "iter",
    "mem",
    "net::IpAddr",
    "net::Ipv4Addr",
    "net::SocketAddr",
    "num",
    "ops",
    "path::Path",
    "path::PathBuf",
    "ptr",
    "str",
    "string",
    "sync::Arc",
    "sync::LazyLock",
    "sync::OnceLock",
    "time::Duration",
    "time::UNIX_EPOCH",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// The Rust files of a folder, without what cargo builds.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = vec![];
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let path = entry.path();
        let name = entry.file_name();
        if entry.file_type().unwrap().is_dir() {
            // `heddle` beside a component is generated.
            if !["target", "node_modules", "heddle"].iter().any(|built| name == *built) {
                found.extend(sources(&path));
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

fn all_sources() -> Vec<PathBuf> {
    let found = FOLDERS.iter().flat_map(|folder| sources(&root().join(folder))).collect::<Vec<_>>();
    assert!(found.len() > 300, "only {} files were found", found.len());
    found
}

/// Fails with all findings, one a line.
fn assert_none(findings: &[String]) {
    assert!(findings.is_empty(), "{} findings:\n{}", findings.len(), findings.join("\n"));
}

/// The place of a line, as editors open it.
fn place(path: &Path, line: usize) -> String {
    format!("{}:{}", path.strip_prefix(root()).unwrap().display(), line + 1)
}

/// The findings of `find` in all lines of Rust.
fn in_lines(find: impl Fn(&str) -> Option<String>) -> Vec<String> {
    let mut findings = vec![];
    for path in all_sources() {
        let text = fs::read_to_string(&path).unwrap();
        for (number, line) in text.lines().enumerate() {
            findings.extend(find(line).map(|what| format!("{}: {what}", place(&path, number))));
        }
    }
    findings
}

#[test]
fn files_are_short() {
    let lines = |path: &Path| fs::read_to_string(path).unwrap().lines().count();
    let long = all_sources().into_iter().filter_map(|path| {
        let lines = lines(&path);
        (lines > FILE_LINES_MAX).then(|| format!("{}: {lines} lines", place(&path, 0)))
    });
    assert_none(&long.collect::<Vec<_>>());
}

#[test]
fn comments_are_narrow() {
    assert_none(&in_lines(|line| {
        let columns = line.chars().count();
        let is_comment = line.trim_start().starts_with("//");
        (is_comment && columns > LINE_COLUMNS_MAX).then(|| format!("{columns} columns"))
    }));
}

/// A file without its comments and its unit tests.
fn code(text: &str) -> String {
    let code = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
    code.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

/// The paths into the standard library in some code, without `std::`; a group counts as each of its members.
fn of_std(code: &str) -> Vec<String> {
    let is_path = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    let mut paths = vec![];
    for used in code.split("std::").skip(1) {
        let end = used.find(|c| !is_path(c)).unwrap_or(used.len());
        let (path, rest) = used.split_at(end);
        match rest.strip_prefix('{').and_then(|group| group.split('}').next()) {
            Some(group) => paths.extend(group.split(',').map(|name| format!("{path}{}", name.trim()))),
            None => paths.push(path.to_owned()),
        }
    }
    paths
}

#[test]
fn pure_crates_use_no_clock_file_socket_or_thread() {
    let mut findings = vec![];
    for path in ["host/core/src", "host/contract/src"].iter().flat_map(|folder| sources(&root().join(folder))) {
        for used in of_std(&code(&fs::read_to_string(&path).unwrap())) {
            let is_pure = |pure: &&str| used == **pure || used.starts_with(&format!("{pure}::"));
            findings.extend((!PURE.iter().any(is_pure)).then(|| format!("{}: std::{used}", place(&path, 0))));
        }
    }
    assert_none(&findings);
}

/// The modules of the host that a file uses, outside of its tests.
fn used(text: &str) -> BTreeSet<String> {
    let code = code(text);
    let mut modules = BTreeSet::new();
    for rest in code.split("crate::").skip(1) {
        // `pub(crate)` has no `::`, and a macro of another crate is `$crate::`.
        let group = rest.strip_prefix('{').map_or(rest, |group| group.split('}').next().unwrap_or_default());
        let names = if rest.starts_with('{') { group.split(',').collect() } else { vec![group] };
        for name in names {
            let name = name.trim().split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next().unwrap_or_default();
            modules.insert(name.to_owned());
        }
    }
    modules
}

#[test]
fn arrows_point_down() {
    let source = root().join("host/src");
    let listed = |name: &str| ARROWS.iter().position(|(module, _)| *module == name);
    let mut findings = vec![];
    for (level, (module, may_use)) in ARROWS.iter().enumerate() {
        let below = |name: &&&str| listed(name).is_some_and(|other| other < level);
        findings.extend(may_use.iter().filter(|name| !below(name)).map(|name| format!("{module} -> {name}: upwards")));
    }
    let mut arrows = BTreeSet::new();
    for path in sources(&source) {
        let inside = path.strip_prefix(&source).unwrap();
        let module = inside.components().next().unwrap().as_os_str().to_string_lossy().replace(".rs", "");
        let Some((_, may_use)) = ARROWS.iter().find(|(name, _)| *name == module) else {
            findings.push(format!("{}: `{module}` is not in ARROWS", place(&path, 0)));
            continue;
        };
        // A path that is not a module (a macro, a constant of the crate) has no arrow.
        for used in used(&fs::read_to_string(&path).unwrap()).into_iter().filter(|used| listed(used).is_some()) {
            if used != module && !may_use.contains(&used.as_str()) {
                findings.push(format!("{}: {module} may not use {used}", place(&path, 0)));
            }
            arrows.insert((module.clone(), used));
        }
    }
    for (module, may_use) in ARROWS {
        let unused = may_use.iter().filter(|used| !arrows.contains(&(module.to_owned(), (**used).to_owned())));
        findings.extend(unused.map(|used| format!("{module} -> {used}: no longer used")));
    }
    assert_none(&findings);
}

#[test]
fn the_runtime_reports_events_instead_of_log_lines() {
    let runtime = sources(&root().join("host/src/runtime"));
    assert!(runtime.len() > 20, "only {} files were found", runtime.len());
    let writes = |path: &&PathBuf| code(&fs::read_to_string(path).unwrap()).contains("tracing::");
    assert_none(&runtime.iter().filter(writes).map(|path| place(path, 0)).collect::<Vec<_>>());
}

#[test]
fn errors_are_laid_out_in_one_place() {
    let report = fs::read_to_string(root().join("host/src/cli/report.rs")).unwrap();
    let listed = report.split("any_of!(").skip(1).filter_map(|rest| rest.split(')').next());
    let listed = listed.flat_map(|names| names.split(',')).map(str::trim).collect::<BTreeSet<_>>();
    assert!(listed.len() > 10, "{listed:?}");
    let (explain, mut findings) = (root().join("host/core/src/explain.rs"), vec![]);
    for path in
        ["host/src", "host/core/src", "host/contract/src"].iter().flat_map(|folder| sources(&root().join(folder)))
    {
        let code = code(&fs::read_to_string(&path).unwrap());
        let marks =
            [r"\n  at", r"\n  hint", r"\n  where", "what to do:"].into_iter().filter(|mark| code.contains(mark));
        findings.extend(marks.filter(|_| path != explain).map(|mark| format!("{}: {mark}", place(&path, 0))));
        let explaining = code.split("impl Explain for ").skip(1).filter_map(|rest| rest.split(' ').next());
        let unlisted = explaining.filter(|name| !listed.contains(name));
        findings
            .extend(unlisted.map(|name| format!("{}: {name} is not in the list of cli/report.rs", place(&path, 0))));
    }
    assert_none(&findings);
}

#[test]
fn the_architecture_page_names_every_test_module() {
    let page = fs::read_to_string(root().join("docs/architecture.md")).unwrap();
    let main = fs::read_to_string(root().join("tests/main.rs")).unwrap();
    let modules = main.lines().filter_map(|line| line.strip_prefix("mod ")?.strip_suffix(';'));
    let modules = modules.filter(|module| *module != "support").collect::<Vec<_>>();
    assert!(modules.len() > 40, "{modules:?}");
    let unnamed = modules.iter().filter(|module| !page.contains(&format!("`{module}`")));
    assert_none(&unnamed.map(|module| format!("docs/architecture.md does not name `{module}`")).collect::<Vec<_>>());
}

#[test]
fn the_readme_names_only_tests_that_exist() {
    let page = fs::read_to_string(root().join("README.md")).unwrap();
    let named = page.split('`').filter(|text| text.starts_with("tests/")).collect::<BTreeSet<_>>();
    assert!(named.len() > 10, "{named:?}");
    let exists = |name: &&&str| root().join(name).exists() || root().join(format!("{name}.rs")).exists();
    assert_none(
        &named.iter().filter(|name| !exists(name)).map(|name| format!("README.md: {name}")).collect::<Vec<_>>(),
    );
}

/// The names of all functions in some folders.
fn functions(folders: &[&str]) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for path in folders.iter().flat_map(|folder| sources(&root().join(folder))) {
        let text = fs::read_to_string(path).unwrap();
        let named = text.lines().filter_map(|line| line.trim_start().strip_prefix("fn ")?.split('(').next());
        names.extend(named.map(str::to_owned));
    }
    names
}

#[test]
fn the_threat_model_names_only_tests_that_exist() {
    let page = fs::read_to_string(root().join("SECURITY.md")).unwrap();
    let tests = functions(&["tests", "host"]);
    let (mut named, mut findings) = (0, vec![]);
    for row in page.lines().filter(|line| line.starts_with("| ") && !line.contains("| test |")) {
        let cell = row.rsplit('|').nth(1).unwrap_or_default();
        let names = cell.split('`').skip(1).step_by(2).collect::<Vec<_>>();
        let files = names.iter().filter(|name| name.ends_with(".rs"));
        let missing_files =
            files.filter(|file| !root().join("tests").join(file).exists() && !root().join(file).exists());
        findings.extend(missing_files.map(|file| format!("SECURITY.md: {file}")));
        let functions = names.iter().filter(|name| !name.ends_with(".rs")).collect::<Vec<_>>();
        findings.extend(functions.is_empty().then(|| format!("SECURITY.md: no test in {row}")));
        findings.extend(
            functions.iter().filter(|name| !tests.contains(***name)).map(|name| format!("SECURITY.md: {name}")),
        );
        named += functions.len();
    }
    assert!(named > 20, "only {named} tests are named");
    assert_none(&findings);
}

#[test]
fn the_component_in_the_readme_is_one_that_is_tested() {
    let page = fs::read_to_string(root().join("README.md")).unwrap();
    let ledger = fs::read_to_string(root().join("examples/order-platform/components/ledger/src/lib.rs")).unwrap();
    let blocks = page.split("```rust\n").skip(1).filter_map(|rest| rest.split("```").next()).collect::<Vec<_>>();
    assert_eq!(blocks.len(), 1);
    // `// …` stands for lines that are left out.
    let parts = blocks.iter().flat_map(|block| block.split("// …\n"));
    let others = parts.filter(|part| !ledger.contains(*part)).map(|part| format!("not in the example:\n{part}"));
    assert_none(&others.collect::<Vec<_>>());
}
