//! Components whose functions have other types than the host's, and hostile files, at every door: load, `check`,
//! `build`, start and `deploy`. Each is refused by name, and a running version continues.

use std::fs;

use heddle_contract::section;
use serde_json::{Value, json};

use crate::failures::host::{Host, status, until};
use crate::support::app::App;
use crate::support::guests::{self, load, refused};
use crate::support::handmade::{HANDLER, component, parse, text, with_contract};

/// The body of a handler that takes bytes and succeeds.
const BODY: &str = "(param i32 i32) (result i32) (i32.const 0)";

/// A component whose handler has this type.
fn handler(ty: &str, body: &str) -> Vec<u8> {
    with_contract(&parse(&text(ty, body, "", "")), "")
}

/// A component that imports an interface with these functions.
fn importer(interface: &str, functions: &str, manifest: &str) -> Vec<u8> {
    let import = format!("(import \"{interface}\" (instance {functions}))");
    with_contract(&parse(&text(HANDLER, BODY, "", &import)), manifest)
}

/// An app with one component in bytes, `hostile.wasm`.
fn app(wasm: &[u8]) -> App {
    let data = tempfile::tempdir().unwrap();
    let folder = data.path().join("app");
    fs::create_dir(&folder).unwrap();
    let manifest = "[app]\nname = \"apps\"\ncomponents = [\"hostile.wasm\"]\n[topics.in]\npartitions = 1\n";
    fs::write(folder.join("heddle.toml"), manifest).unwrap();
    fs::write(folder.join("hostile.wasm"), wasm).unwrap();
    App { folder, data, bootstrap: None, registry: None }
}

fn error(app: &App, arguments: &[&str]) -> String {
    let output = app.run(arguments);
    assert!(!output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn a_handler_of_another_type_than_the_hosts_is_refused() {
    let one = "(param \"event\" (list u8))";
    let handlers = [
        handler(one, "(param i32 i32)"),
        handler(&format!("{one} (result u32)"), BODY),
        handler(&format!("{one} (result (result))"), BODY),
        handler(&format!("{one} (result (result (error string)))"), BODY),
        handler(&format!("{one} (result (result u32 (error $failure)))"), BODY),
        handler("(param \"event\" string) (result (result (error $failure)))", BODY),
        handler("(param \"event\" (list u16)) (result (result (error $failure)))", BODY),
        handler("(result (result (error $failure)))", "(result i32) (i32.const 0)"),
        handler(
            &format!("{one} (param \"more\" u32) (result (result (error $failure)))"),
            "(param i32 i32 i32) (result i32) (i32.const 0)",
        ),
    ];
    let messages = handlers.map(|wasm| refused(load("hostile.wasm", &wasm, [])));
    insta::assert_snapshot!(messages.join("\n"));
    load("hostile.wasm", &component(""), []).map(drop).unwrap();
}

#[test]
fn an_import_of_another_type_than_the_hosts_is_refused() {
    let function = |name: &str, ty: &str| format!("(export \"{name}\" (func {ty}))");
    let runtime = |interface: &str, name: &str, ty: &str| {
        importer(&format!("heddle:runtime/{interface}@0.1.0"), &function(name, ty), "")
    };
    let emitter = |name: &str, ty: &str| importer("heddle:component/emit-out", &function(name, ty), "\n[emits.out]\n");
    let table = |name: &str, ty: &str| {
        let manifest = "\n[tables.facts]\ntopic = \"facts\"\n";
        importer("heddle:component/table-facts", &function(name, ty), manifest)
    };
    let importers = [
        runtime("random", "next-u64", "(result u32)"),
        runtime("random", "bytes", "(param \"len\" u64) (result (list u8))"),
        runtime("random", "bits", "(result u64)"),
        runtime("log", "write", "(param \"level\" u8) (param \"message\" string)"),
        runtime("context", "current", "(result string)"),
        importer("heddle:runtime/context@0.2.0", &function("current", "(result string)"), ""),
        importer("heddle:runtime/future@0.1.0", &function("next", ""), ""),
        emitter("send", "(param \"value\" (list u8)) (result u32)"),
        emitter("send", ""),
        emitter("send-with", "(param \"value\" (list u8))"),
        emitter(
            "send-with",
            "(param \"value\" (list u8)) (param \"key\" (option string)) (param \"headers\" (list string))",
        ),
        emitter("delete", "(param \"key\" u64)"),
        emitter("send-all", "(param \"values\" (list (list u8)))"),
        table("get", "(param \"key\" string) (result (list u8))"),
        table("get", "(param \"key\" string) (result (option string))"),
        table("put", "(param \"key\" string) (param \"value\" (list u8))"),
    ];
    let messages = importers.map(|wasm| refused(load("hostile.wasm", &wasm, [])));
    insta::assert_snapshot!(messages.join("\n"));
    for good in [
        runtime("random", "next-u64", "(result u64)"),
        emitter("send", "(param \"value\" (list u8))"),
        emitter("delete", "(param \"key\" string)"),
        table("get", "(param \"key\" string) (result (option (list u8)))"),
    ] {
        load("hostile.wasm", &good, []).map(drop).unwrap();
    }
}

/// A type of any size is shown in part.
#[test]
fn a_message_about_a_type_is_bounded() {
    let doubled = (1..16).map(|n| format!("(type $t{n} (tuple $t{0} $t{0}))", n - 1)).collect::<String>();
    let nested = (1..90).map(|n| format!("(type $n{n} (list $n{}))", n - 1)).collect::<String>();
    let types = format!("(type $t0 (tuple u8 u8)) {doubled} (type $n0 (list u8)) {nested}");
    for (name, body) in [("$t15", "(param i32 i32) (result i32) (i32.const 0)"), ("$n89", BODY)] {
        let handler = format!("(param \"event\" {name}) (result (result (error $failure)))");
        let body = if name == "$t15" { "(param i32) (result i32) (i32.const 0)" } else { body };
        let wasm = text(&handler, body, "", "").replacen("(core module", &format!("{types} (core module"), 1);
        let message = refused(load("hostile.wasm", &with_contract(&parse(&wasm), ""), []));
        assert!(message.contains("the component has `") && message.len() < 1_000, "{}: {message}", message.len());
    }
}

#[test]
fn every_command_refuses_a_component_that_would_only_trap() {
    let wrong = handler("(param \"event\" (list u8)) (result u32)", BODY);
    let app = app(&wrong);
    let both = ["`handle: func(list<u8>) -> u32`", "`handle: func(<value>) -> result<_, variant { rejected(string)"];
    let is_told = |said: &str, file: &str| {
        assert!(both.iter().all(|text| said.contains(text)) && said.contains(file), "{said}");
    };
    is_told(&error(&app, &["check"]), "hostile.wasm");
    is_told(&error(&app, &["run", "--until-idle"]), "hostile.wasm");
    // The same as the output of a component's own build command.
    let component = app.folder.join("components/hostile");
    fs::create_dir_all(&component).unwrap();
    fs::rename(app.folder.join("hostile.wasm"), component.join("made.wasm")).unwrap();
    let manifest = "[component]\nname = \"hostile\"\nbuild = \"cp made.wasm hostile.wasm\"\n[consumes.in]\n";
    fs::write(component.join("component.toml"), manifest).unwrap();
    fs::write(app.folder.join("heddle.toml"), "[app]\nname = \"apps\"\n[topics.in]\npartitions = 1\n").unwrap();
    is_told(&error(&app, &["build"]), "hostile.wasm");
}

/// A good component whose values have a schema of records that contain each other, far deeper than any stack.
fn with_deep_schema() -> Vec<u8> {
    let field = |n: usize| json!({"name": "f", "type": format!("R{n}")});
    let record = |n: usize| {
        let fields = n.checked_sub(1).map(field).into_iter().collect::<Vec<_>>();
        json!({"type": "record", "name": format!("R{n}"), "fields": fields})
    };
    let text = (0..10_000).map(record).collect::<Value>().to_string();
    guests::with_contract(&component(""), |contract| {
        contract.schemas.insert("in-value".to_owned(), section::Schema::new(section::SchemaFormat::Avro, text));
    })
}

/// Files that a running host is asked to switch to.
fn hostile_versions() -> Vec<(&'static str, Vec<u8>)> {
    let good = component("");
    let nested = (1..5_000).map(|n| format!("(type $n{n} (list $n{}))", n - 1)).collect::<String>();
    let mut large = good.clone();
    let section = wasm_encoder::CustomSection { name: "notes".into(), data: vec![7; 70 << 20].into() };
    wasm_encoder::Section::append_to(&section, &mut large);
    let twice = |wasm: &[u8]| {
        // The export at the end once more, which no parser of texts allows.
        let mut wasm = wasm.to_vec();
        let mut exports = wasm_encoder::ComponentExportSection::new();
        exports.export("heddle:component/on-in", wasm_encoder::ComponentExportKind::Instance, 1, None);
        wasm.push(wasm_encoder::ComponentSectionId::Export.into());
        wasm_encoder::Encode::encode(&exports, &mut wasm);
        wasm
    };
    vec![
        ("module.wasm", with_contract(&parse("(module (func))"), "")),
        ("memory.wasm", component("(memory 65536)")),
        ("memory64.wasm", component("(memory i64 65536)")),
        ("endless.wasm", component("(func $start (loop $again (br $again))) (start $start)")),
        ("traps.wasm", component("(func $start unreachable) (start $start)")),
        ("nested.wasm", with_contract(&parse(&format!("(component (type $n0 (list u8)) {nested})")), "")),
        ("large.wasm", large),
        ("cut.wasm", good[..good.len() * 2 / 3].to_vec()),
        ("future.wasm", importer("heddle:runtime/context@0.9.0", "(export \"current\" (func (result string)))", "")),
        ("absent.wasm", importer("shop:other/thing", "(export \"do\" (func))", "")),
        ("twice.wasm", twice(&good)),
        ("deep.wasm", with_deep_schema()),
        ("wrong.wasm", handler("(param \"event\" string) (result (result (error $failure)))", BODY)),
    ]
}

#[test]
fn a_running_version_continues_while_hostile_files_are_deployed() {
    let app = app(&component(""));
    let host = Host::start(&app);
    let handled = || status(&app, "apps.hostile")["handled"].as_u64().unwrap_or(0);
    until("the host has its task", || !status(&app, "apps.hostile").is_null());
    let digest = || status(&app, "apps.hostile")["digest"].clone();
    let (before, mut sent) = (digest(), 0);
    assert_ne!(before, Value::Null);
    let lines = app.data.path().join("lines");
    fs::write(&lines, "\"AAEC\"\n").unwrap();
    for (name, wasm) in hostile_versions() {
        let file = app.data.path().join(name);
        fs::write(&file, wasm).unwrap();
        let said = error(&app, &["deploy", file.to_str().unwrap()]);
        let is_named = said.contains(name) || said.contains("at: the file deployed for `hostile`");
        assert!(said.starts_with("error: ") && is_named, "{name}: {said}");
        assert!(said.len() < 2_000 && said.contains("hint: "), "{name}: {said}");
        assert_eq!(digest(), before, "{name}");
        app.ok(&["produce", "in", "--file", lines.to_str().unwrap()]);
        sent += 1;
        until("the running version handles a record", || handled() == sent);
    }
    host.stop();
}
