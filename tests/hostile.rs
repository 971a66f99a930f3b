//! Files that are not components, or that request too much. They are refused with the cause, the place and a remedy, in
//! bounded memory.
use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;

use heddle::guest::Instance;
use heddle_contract::section::{self, CONTRACT_BYTES_MAX};
use heddle_core::batch::OpenBatch;
use heddle_core::event::{Offset, Partition, Record, Timestamp, TopicPartition};
use heddle_core::policy::FailurePolicy;
use heddle_core::state::Stateless;
use heddle_core::task::{Task, TaskSpec};

use crate::support::guests::{self, Known};
use crate::support::handmade::{self, HANDLER, component, parse, with_contract};
use crate::support::measured;

/// The maximum memory for a refusal: less than the size or the memory request of the large files below.
const PEAK_KIB_MAX: u64 = 160 << 10;

/// The refusal of a file by `heddle inspect`, and of an app with it by `heddle check`.
fn refused(write: impl FnOnce(&Path)) -> String {
    let app = tempfile::tempdir().unwrap();
    let file = app.path().join("hostile.wasm");
    write(&file);
    fs::write(app.path().join("heddle.toml"), "[app]\nname = \"apps\"\ncomponents = [\"*.wasm\"]\n").unwrap();
    let inspected = failed(app.path(), &["inspect", file.to_str().unwrap()]);
    let said = inspected.or_else(|| failed(app.path(), &["check"])).expect("it is refused");
    said.replace(app.path().to_str().unwrap(), "<app>").trim_end().to_owned()
}

fn refused_bytes(bytes: &[u8]) -> String {
    refused(|file| fs::write(file, bytes).unwrap())
}

/// The error of a command that must fail within the memory bound. A command that never ends is killed when this test
/// exceeds its limit.
fn failed(app: &Path, arguments: &[&str]) -> Option<String> {
    let arguments = [arguments, &["--app", app.to_str().unwrap()]].concat();
    let ended = measured::run(env!("CARGO_BIN_EXE_heddle"), &arguments, &[("HEDDLE_CACHE", &app.join("cache"))]);
    assert!(ended.peak_kib < PEAK_KIB_MAX, "{arguments:?} took {} KiB: {}", ended.peak_kib, ended.stderr);
    (!ended.succeeded).then_some(ended.stderr)
}

/// A component with `data` in place of a contract.
fn with_section(data: &[u8]) -> Vec<u8> {
    let mut wasm = wat::parse_str("(component)").unwrap();
    let section = wasm_encoder::CustomSection { name: section::NAME.into(), data: data.into() };
    wasm_encoder::Section::append_to(&section, &mut wasm);
    wasm
}

#[test]
fn a_file_that_is_not_a_component_is_refused() {
    let random = (0..100_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect::<Vec<_>>();
    let module = wat::parse_str("(module (func))").unwrap();
    let mut cut = component("");
    cut.truncate(cut.len() / 2);
    let messages = [
        refused_bytes(b""),
        refused_bytes(&random),
        refused_bytes(&module),
        refused_bytes(&with_contract(&module, "")),
        refused_bytes(&cut),
        refused_bytes(&with_section(b"\xff\0 garbage")),
        refused_bytes(&with_section(&vec![b'['; CONTRACT_BYTES_MAX])),
        refused_bytes(&with_section(&vec![b' '; CONTRACT_BYTES_MAX + 1])),
    ];
    insta::assert_snapshot!(messages.join("\n"));
}

#[test]
fn a_component_that_is_too_large_is_refused_before_it_is_compiled() {
    // Nineteen bytes of code each: little text for much code.
    let function = |mebibytes: usize| {
        format!("(func {})", "(drop (v128.const i64x2 0 0)) ".repeat((mebibytes << 20).div_ceil(19)))
    };
    let messages = [
        refused(|file| File::create(file).unwrap().set_len(200 << 20).unwrap()),
        refused(|file| std::os::unix::fs::symlink("/dev/zero", file).unwrap()),
        refused_bytes(&component(&"(func)".repeat(100_000))),
        refused_bytes(&component(&function(3))),
        refused_bytes(&component(&function(1).repeat(40))),
        refused_bytes(&with_contract(&parse(&format!("(component {})", "(core module)".repeat(2_000))), "")),
    ];
    insta::assert_snapshot!(messages.join("\n"));
}

#[test]
fn a_component_that_asks_for_too_much_or_does_not_start_is_refused() {
    let http = r#"(component (import "wasi:http/outgoing-handler@0.2.0" (instance (export "handle" (func)))))"#;
    let types = r#"(component (import "wasi:http/types@0.2.0" (instance (export "fields" (type (sub resource))))))"#;
    let messages = [
        refused_bytes(&with_contract(&parse(http), "")),
        refused_bytes(&with_contract(&parse(types), "")),
        refused_bytes(&component("(func $start (loop $again (br $again))) (start $start)")),
        refused_bytes(&component("(func $start unreachable) (start $start)")),
        refused_bytes(&component("(func $start (call $start)) (start $start)")),
        refused_bytes(&component("(memory 32768)")),
        // Each module alone would be accepted, but all of them exceed the limit.
        refused_bytes(&component(&"(memory 100)".repeat(20))),
        refused_bytes(&component(&"(memory 0)".repeat(90))),
        refused_bytes(&component("(table 100000000 funcref)")),
    ];
    insta::assert_snapshot!(messages.join("\n"));
}

#[test]
fn a_good_component_is_not_refused() {
    let app = tempfile::tempdir().unwrap();
    let file = app.path().join("good.wasm");
    fs::write(&file, component("")).unwrap();
    assert_eq!(failed(app.path(), &["inspect", file.to_str().unwrap()]), None);
}

/// The types and interfaces of a component are read before its contract is looked at: however many there are, and
/// however deep, each command ends.
#[test]
fn types_and_names_out_of_proportion_are_refused() {
    let nested = |levels: usize| {
        let types = (1..levels).map(|n| format!("(type $t{n} (list $t{}))", n - 1)).collect::<String>();
        format!("(component (type $t0 (list u8)) {types})")
    };
    let doubled = |levels: usize| {
        let types = (1..levels).map(|n| format!("(type $t{n} (tuple $t{0} $t{0}))", n - 1)).collect::<String>();
        format!("(component (type $t0 (tuple u8 u8)) {types} (import \"f\" (func (param \"x\" $t{}))))", levels - 1)
    };
    let inside = |levels: usize| {
        (0..levels).fold(wat::parse_str("(component)").unwrap(), |inner, _| {
            let mut outer = wasm_encoder::Component::new();
            outer.section(&wasm_encoder::RawSection {
                id: wasm_encoder::ComponentSectionId::Component.into(),
                data: &inner,
            });
            outer.finish()
        })
    };
    let imports = |count: usize| {
        let imports =
            (0..count).map(|n| format!("(import \"heddle:component/emit-t{n}\" (instance))")).collect::<String>();
        format!("(component {imports})")
    };
    let texts = [
        nested(5_000),
        doubled(60),
        imports(5_000),
        format!("(component (import \"heddle:x/{}\" (func)))", "n".repeat(60_000)),
    ];
    let files = texts.iter().map(|text| wat::parse_str(text).unwrap()).chain([inside(900)]);
    let messages = files.map(|file| refused_bytes(&with_contract(&file, ""))).collect::<Vec<_>>();
    for message in &messages {
        assert!(message.starts_with("error: ") && message.len() < 2_000, "{} bytes: {message}", message.len());
    }
}

/// A component whose handler takes bytes and succeeds. `realloc` makes room for the bytes.
fn takes_bytes(realloc: &str) -> Vec<u8> {
    let text = handmade::text(HANDLER, "(param i32 i32) (result i32) (i32.const 0)", "", "");
    with_contract(&parse(&text.replace("(result i32) (i32.const 64)", &format!("(result i32) {realloc}"))), "")
}

/// The function that makes room for a value runs on behalf of the host: it is bounded like a handler.
#[test]
fn a_failed_allocation_fails_only_its_delivery() {
    let again = "(call 0 (local.get 0) (local.get 1) (local.get 2) (local.get 3))";
    for (realloc, kind) in [
        ("(i32.const 64)", None),
        ("(loop $again (br $again)) (i32.const 0)", Some("deadline")),
        (again, Some("stack")),
        ("unreachable", Some("trap")),
        ("(i32.const -16)", Some("trap")),
        ("(i32.const 65535)", Some("trap")),
        (
            "(loop $again (br_if $again (i32.ne (memory.grow (i32.const 1)) (i32.const -1)))) unreachable",
            Some("memory"),
        ),
    ] {
        let component = Arc::new(guests::load("hostile.wasm", &takes_bytes(realloc), []).unwrap());
        let spec = TaskSpec::stateless("apps.hostile".into(), FailurePolicy::in_place(1, "dlq"));
        let mut task = Task::new(Arc::new(spec), Partition(0), Arc::new(Stateless));
        let mut instance = Instance::new(component, Known::of([]));
        for offset in 0..2 {
            let record = Record {
                source: TopicPartition::new("in", 0),
                offset: Offset(offset),
                timestamp: Timestamp(0),
                key: None,
                value: Some(vec![7; 1_000].into()),
                headers: vec![],
            };
            let step = task.step_at_once(&record, &mut instance, &mut OpenBatch::default(), Timestamp(0)).unwrap();
            let letter = step.writes.first().map(|letter| guests::header(letter, "heddle.kind"));
            assert_eq!(letter.as_deref(), kind, "{realloc}");
        }
    }
}
