//! `heddle new` in every language: its components pass their tests, its refusals, and the output of tool chains as
//! users see it.
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use heddle::build::cache_folder;
use tempfile::TempDir;

/// An app that `heddle new` created, in a temporary folder.
struct Made(TempDir);

impl Made {
    fn new() -> Self {
        Self::with(&[])
    }

    fn with(more: &[&str]) -> Self {
        let made = Self(tempfile::tempdir().unwrap());
        made.ok(&[&["new", "--app", "shop"], more].concat());
        made
    }

    fn shop(&self) -> PathBuf {
        self.0.path().join("shop")
    }

    fn component(&self, name: &str) -> PathBuf {
        self.shop().join("components").join(name)
    }

    fn heddle(&self, arguments: &[&str]) -> Command {
        let mut heddle = Command::new(env!("CARGO_BIN_EXE_heddle"));
        heddle.args(arguments).current_dir(self.0.path());
        heddle
    }

    fn ok(&self, arguments: &[&str]) -> String {
        succeeded(&self.heddle(arguments).output().unwrap())
    }

    /// The error output of a command that must fail, without this machine's paths.
    fn fails(&self, heddle: &mut Command) -> String {
        let output = heddle.output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success(), "{said}");
        said.replace(&fs::canonicalize(self.0.path()).unwrap().display().to_string(), "…")
            .replace(&self.0.path().display().to_string(), "…")
    }
}

fn succeeded(output: &Output) -> String {
    let [out, err] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    assert!(output.status.success(), "{out}{err}");
    out + &err
}

fn run(program: &str, arguments: &[&str], folder: &Path) -> String {
    let mut command = Command::new(program);
    // Kept between runs, because a component's tests compile the SDK's macros.
    command.args(arguments).current_dir(folder).env("CARGO_TARGET_DIR", cache_folder().join("native-target"));
    command.env_remove("RUSTC_BOOTSTRAP");
    succeeded(&command.output().unwrap())
}

#[test]
fn a_new_component_passes_its_own_test() {
    let made = Made::new();
    for language in ["rust", "javascript", "python", "go"] {
        // One component that emits to a topic that does not exist yet, and one that does not emit.
        made.ok(&[
            "new",
            &format!("answers-{language}"),
            "--lang",
            language,
            "--emits",
            "orders.answered",
            "--app",
            "shop",
        ]);
        made.ok(&["new", &format!("looks-{language}"), "--lang", language, "--app", "shop"]);
    }
    for kind in ["answers", "looks"] {
        let folder = |language| made.component(&format!("{kind}-{language}"));
        assert!(run("cargo", &["test"], &folder("rust")).contains("1 passed"));
        assert!(run("node", &["--test"], &folder("javascript")).contains("pass 1"));
        assert!(run("python3", &["-m", "unittest"], &folder("python")).contains("Ran 1 test"));
        assert!(run("go", &["test"], &folder("go")).contains("PASS"));
    }
    // Without `--consumes`, a component takes a topic from outside, not one that another component emits to.
    assert!(fs::read_to_string(made.component("looks-rust").join("component.toml")).unwrap().contains("orders.placed"));
}

#[test]
fn a_new_component_of_another_format_passes_its_own_test() {
    let languages = [("json", &["rust", "javascript", "python", "go"][..]), ("protobuf", &["rust", "javascript"][..])];
    for (format, languages) in languages {
        let made = Made::with(&["--format", format]);
        for language in languages {
            // Without `--format`, a schema is of the format that the consumed topic has.
            let more: &[&str] = if *language == "rust" { &["--format", format] } else { &[] };
            let new = ["new", language, "--lang", language, "--emits", "orders.answered", "--app", "shop"];
            made.ok(&[&new, more].concat());
            let folder = made.component(language);
            match *language {
                "rust" => assert!(run("cargo", &["test"], &folder).contains("1 passed")),
                "javascript" => assert!(run("node", &["--test"], &folder).contains("pass 1")),
                "python" => assert!(run("python3", &["-m", "unittest"], &folder).contains("Ran 1 test")),
                _ => assert!(run("go", &["test"], &folder).contains("PASS")),
            }
        }
        made.ok(&["build", "javascript", "--app", "shop"]);
        let ending = if format == "json" { "json" } else { "proto" };
        let schema = |topic: &str| made.shop().join(format!("contracts/{topic}-value.{ending}"));
        let [placed, answered] = ["orders.placed", "orders.answered"].map(|topic| fs::read_to_string(schema(topic)));
        let id = if format == "json" { "\"orderId\"" } else { "string order_id = 1;" };
        assert!(placed.unwrap().contains(id) && answered.unwrap().contains(id));
    }
}

#[test]
fn the_template_of_debezium_passes_its_own_test() {
    let made = Made::new();
    for language in ["rust", "javascript", "python", "go"] {
        let name = format!("join-{language}");
        made.ok(&["new", &name, "--lang", language, "--template", "debezium", "--app", "shop"]);
    }
    let folder = |language| made.component(&format!("join-{language}"));
    assert!(run("cargo", &["test"], &folder("rust")).contains("2 passed"));
    assert!(run("node", &["--test"], &folder("javascript")).contains("pass 2"));
    assert!(run("python3", &["-m", "unittest"], &folder("python")).contains("Ran 2 tests"));
    assert!(run("go", &["test"], &folder("go")).contains("PASS"));
    assert_eq!(run("gofmt", &["-l", "main.go", "main_test.go"], &folder("go")), "");
    // Its schemas are not overwritten where they were changed.
    fs::write(made.shop().join("contracts/OrderRow.avsc"), "\"string\"").unwrap();
    let arguments = ["new", "other", "--lang", "rust", "--template", "debezium", "--app", "shop"];
    assert!(made.fails(&mut made.heddle(&arguments)).contains("OrderRow.avsc"));
}

#[test]
fn a_test_host_keeps_its_promises() {
    let guests = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../guests");
    let names = ["conformance-javascript", "conformance-python", "conformance-rust", "conformance-go"];
    let mut heddle = Command::new(env!("CARGO_BIN_EXE_heddle"));
    succeeded(&heddle.args(["build", "--wit-only"]).args(names).arg("--app").arg(&guests).output().unwrap());
    let [javascript, python, rust, go] = names.map(|name| guests.join("components").join(name));
    assert!(run("node", &["--test"], &javascript).contains("pass 7"));
    assert!(run("python3", &["-m", "unittest"], &python).contains("Ran 7 tests"));
    assert!(run("cargo", &["test"], &rust).contains("7 passed"));
    assert!(run("go", &["test"], &go).contains("ok"));
}

#[test]
fn nothing_is_overwritten_and_names_are_checked() {
    let made = Made::new();
    made.ok(&["new", "intake", "--lang", "python", "--app", "shop"]);
    let before = fs::read(made.component("intake").join("app.py")).unwrap();
    fs::create_dir_all(made.component("half/src")).unwrap();
    fs::write(made.component("half/src").join("index.js"), "mine").unwrap();
    let told = [
        &["new"][..],
        &["new", "--app", "shop"],
        &["new", "--app", "No Name"],
        &["new", "intake", "--lang", "rust", "--app", "shop"],
        &["new", "half", "--lang", "javascript", "--app", "shop"],
        &["new", "In Take", "--lang", "rust", "--app", "shop"],
        &["new", "out", "--lang", "rust", "--emits", "no topic", "--app", "shop"],
        &["new", "out", "--lang", "rust", "--app", "elsewhere"],
    ];
    let told =
        told.map(|arguments| format!("$ heddle {}\n{}", arguments.join(" "), made.fails(&mut made.heddle(arguments))));
    insta::assert_snapshot!(told.join("\n"));
    assert_eq!(fs::read(made.component("intake").join("app.py")).unwrap(), before);
    assert!(!made.component("out").exists() && !made.0.path().join("No Name").exists());
}

#[test]
fn errors_in_the_source_are_reported_in_the_compilers_words() {
    let made = Made::new();
    for language in ["javascript", "python", "go"] {
        made.ok(&["new", language, "--lang", language, "--app", "shop"]);
    }
    let told = |language: &str, file: &str, text: &str| {
        fs::write(made.component(language).join(file), text).unwrap();
        made.fails(&mut made.heddle(&["build", language, "--app", "shop"]))
    };
    let told = [
        told("javascript", "src/index.js", "export function onOrdersPlaced(order) {\n  return order..id;\n}\n"),
        told("javascript", "src/index.js", "export function onOrders(order) {}\n"),
        told("javascript", "src/index.js", "export function onOrdersPlaced() {}\nnull.at;\n"),
        told("python", "app.py", "def on_orders_placed(order)\n    pass\n"),
        told("python", "app.py", "def on_orders(order):\n    pass\n"),
        told("python", "app.py", "import missing_module\n"),
        told("go", "main.go", "package main\n\nfunc main() { nothing() }\n"),
        told("go", "go.mod", ""),
    ];
    // A first build on this machine fetches the tools, and prints that.
    let lines = told.iter().flat_map(|told| told.lines()).filter(|line| !line.starts_with("fetching "));
    // The place within the bundle moves with every line of the SDK.
    let place = |line: &str| match line.split_once("bundle.js:") {
        Some((before, _)) => format!("{before}bundle.js:…)"),
        None => line.to_owned(),
    };
    insta::assert_snapshot!(lines.map(place).collect::<Vec<_>>().join("\n"));
}

#[test]
fn a_machine_without_tools_gets_a_list_of_what_to_install() {
    let made = Made::new();
    let empty = tempfile::tempdir().unwrap();
    let told = ["javascript", "python", "go"].map(|language| {
        made.ok(&["new", language, "--lang", language, "--app", "shop"]);
        let mut heddle = made.heddle(&["build", language, "--app", "shop"]);
        made.fails(heddle.env("PATH", empty.path()).env("HEDDLE_CACHE", empty.path()))
    });
    insta::assert_snapshot!(told.join("\n"));
}
