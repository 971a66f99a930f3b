//! `heddle schema` and `heddle check`, as a user and a CI job type them.
use crate::support::build;
use std::fmt::Write as _;
use std::io::{BufRead as _, Write as _};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use heddle_fixtures::Ended;
use serde_json::{Value, json};

/// An app that has only schemas.
struct App(tempfile::TempDir);

impl App {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("heddle.toml"), "[app]\nname = \"shop\"\n").unwrap();
        std::fs::create_dir(folder.path().join("contracts")).unwrap();
        Self(folder)
    }

    fn write(&self, file: &str, schema: &Value) {
        std::fs::write(self.0.path().join("contracts").join(file), schema.to_string()).unwrap();
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_heddle"));
        command.args(arguments).arg("--app").arg(self.0.path()).env("HEDDLE_ADMIN_LISTEN", "127.0.0.1:0");
        command.env("HEDDLE_TRACE", "error,heddle::alert=info");
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    fn ok(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// The complete output of a command.
    fn told(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let code = output.status.code().unwrap();
        let (out, errors) = (text(&output.stdout), text(&output.stderr));
        let told = format!("$ heddle {}\n{out}{errors}exit {code}\n\n", arguments.join(" "));
        told.replace(self.0.path().to_str().unwrap(), "APP")
    }
}

fn order(more: &[Value]) -> Value {
    let fields = [vec![json!({"name": "orderId", "type": "string"})], more.to_vec()].concat();
    json!({"type": "record", "name": "OrderCreated", "namespace": "shop", "doc": "An order.", "fields": fields})
}

#[test]
fn a_change_is_checked_registered_and_compared() {
    let app = App::new();
    let subject = "orders.created-value";
    let file = format!("{subject}.avsc");
    app.write(&file, &order(&[]));
    app.write(
        "Money.avsc",
        &json!({"type": "record", "name": "Money", "fields": [{"name": "cents", "type": ["long", "null"]}]}),
    );
    let mut told = app.told(&["schema", "check"]);
    told += &app.told(&["schema", "register"]);
    told += &app.told(&["schema", "set-level", "FULL", "--subject", subject]);
    app.write(&file, &order(&[json!({"name": "total", "type": "double"})]));
    told += &app.told(&["schema", "check"]);
    told += &app.told(&["schema", "check", "--json"]);
    told += &app.told(&["schema", "register"]);
    app.write(&file, &order(&[json!({"name": "discountCode", "type": ["null", "string"], "default": null})]));
    told += &app.told(&["schema", "register"]);
    told += &app.told(&["schema", "list"]);
    told += &app.told(&["schema", "list", "--json"]);
    told += &app.told(&["schema", "diff", subject, "1", "2"]);
    told += &app.told(&["schema", "get", subject, "--version", "1"]);
    told += &app.told(&["schema", "get", "nothing-value"]);
    told += &app.told(&["schema", "lint"]);
    told += &app.told(&["schema", "set-level", "SIDEWARD"]);
    insta::assert_snapshot!(told);
}

#[test]
fn two_questions_are_answered_for_people_and_for_programs() {
    let app = App::new();
    let file = |name: &str, schema: &Value| {
        let path = app.0.path().join(name);
        std::fs::write(&path, schema.to_string()).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (old, new) = (file("old.avsc", &order(&[])), file("new.avsc", &order(&[json!({"name": "n", "type": "int"})])));
    let optional = file("optional.avsc", &order(&[json!({"name": "n", "type": ["null", "int"], "default": null})]));
    let mut told = String::new();
    for arguments in [
        vec!["schema", "compat", "--reader", &optional, "--writer", &old],
        vec!["schema", "compat", "--reader", &new, "--writer", &old],
        vec!["schema", "compat", "--reader", &new, "--writer", &old, "--json"],
        vec!["schema", "resolve", "--reader", &optional, "--writer", &new, "--hex", "044f3108"],
        vec!["schema", "resolve", "--reader", &old, "--writer", &new, "--hex", "044f"],
    ] {
        write!(told, "{}", app.told(&arguments)).unwrap();
    }
    insta::assert_snapshot!(told);

    let lines = |arguments: &[&str], questions: &[Value]| {
        let mut command = app.command(arguments);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut input = child.stdin.take().unwrap();
        questions.iter().for_each(|question| writeln!(input, "{question}").unwrap());
        drop(input);
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success());
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()).collect::<Vec<_>>()
    };
    let answers = lines(
        &["schema", "compat", "--jsonl"],
        &[
            json!({"reader": "long", "writer": "int"}),
            json!({"reader": "\"int\"", "writer": {"type": "long"}}),
            json!({"reader": "nothing", "writer": "int"}),
        ],
    );
    assert_eq!(answers[0]["compatible"], true);
    assert_eq!(
        answers[1],
        json!({"compatible": false, "message": "at `.`: the writer has long where the reader has int; it takes int"})
    );
    assert!(answers[2]["error"].as_str().unwrap().contains("nothing"), "{answers:?}");
    let answers = lines(
        &["schema", "resolve", "--jsonl"],
        &[
            json!({"reader": ["null", "long"], "writer": "int", "hex": "04"}),
            json!({"reader": "long", "writer": "int", "hex": "0400"}),
            json!({"reader": "long", "writer": "int", "hex": "4"}),
        ],
    );
    assert_eq!(answers[0], json!({"value": {"long": 2}}));
    assert!(answers[1]["error"].as_str().unwrap().contains("left after the value"), "{answers:?}");
    assert!(answers[2]["error"].as_str().unwrap().contains("a hexadecimal digit is missing"), "{answers:?}");
}

#[test]
fn schemas_of_other_formats_are_compared_too() {
    let app = App::new();
    let file = |name: &str, text: &str| {
        let path = app.0.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let json = |more: &Value| {
        let schema = json!({"type": "object", "additionalProperties": false, "properties": more});
        schema.to_string()
    };
    let message = |ty: &str| {
        format!(
            "syntax = \"proto3\"; import \"shop/money.proto\"; message Order {{ {ty} id = 1; shop.Money total = 2; }}"
        )
    };
    file("shop/money.proto", "syntax = \"proto3\"; package shop; message Money { int64 cents = 1; }");
    let old = file("old.json", &json(&json!({"n": {"type": "integer"}})));
    let new = file("new.json", &json(&json!({"n": {"type": "integer"}, "m": {"type": "string"}})));
    let (before, after) = (file("old.proto", &message("string")), file("new.proto", &message("int32")));
    let compat = |reader: &str, writer: &str| app.told(&["schema", "compat", "--reader", reader, "--writer", writer]);
    assert!(compat(&new, &old).contains("compatible: the reader reads everything"), "{}", compat(&new, &old));
    assert!(compat(&old, &new).contains("incompatible: at "), "{}", compat(&old, &new));
    assert!(compat(&before, &before).contains("compatible: the reader"), "{}", compat(&before, &before));
    assert!(compat(&after, &before).contains("incompatible: at "), "{}", compat(&after, &before));
    assert!(compat(&after, &old).contains("incompatible: at `.`: the writer's schema is JSON, the reader's PROTOBUF"));
    assert!(compat("missing.json", &old).contains("missing.json"), "{}", compat("missing.json", &old));
    let question = json!({"schemaType": "JSON", "reader": {"type": "string"}, "writer": {"type": "integer"}});
    let mut child = app.command(&["schema", "compat", "--jsonl"]);
    let mut child = child.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    writeln!(child.stdin.take().unwrap(), "{question}\n{}", json!({"schemaType": "XML"})).unwrap();
    let answers = String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap();
    let answers = answers.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()).collect::<Vec<_>>();
    assert_eq!(answers[0]["compatible"], false, "{answers:?}");
    assert_eq!(answers[1]["error"], "`schemaType` is none of AVRO, JSON and PROTOBUF");
}

#[test]
fn a_schema_is_derived_from_the_records_of_a_topic() {
    let app = App::new();
    app.ok(&["topics", "create", "plain.things", "--partitions", "3"]);
    let infer = || app.run(&["schema", "infer", "plain.things"]);
    let told = String::from_utf8(infer().stderr).unwrap();
    assert!(told.contains("there are no values in `plain.things`"), "{told}");
    let lines = [json!({"a": 1}), json!({"a": 2, "b": [null]}), json!({"$text": "{"}), Value::Null];
    let lines = lines.map(|line| format!("{line}\n")).concat();
    let mut produce = app.command(&["produce", "plain.things"]).stdin(Stdio::piped()).spawn().unwrap();
    produce.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
    assert!(produce.wait().unwrap().success());
    let output = infer();
    let [out, err] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    assert!(out.contains("plain.things-value.json") && out.contains("from 2 records"), "{out}{err}");
    assert!(err.contains("1 record without JSON left out"), "{err}");
    assert!(err.contains("set wire = \"plain\" in [topics.\"plain.things\"]"), "{err}");
    let text = std::fs::read_to_string(app.0.path().join("contracts/plain.things-value.json")).unwrap();
    let schema = serde_json::from_str::<Value>(&text).unwrap();
    assert_eq!((&schema["title"], &schema["required"]), (&json!("PlainThings"), &json!(["a"])));
    assert_eq!(schema["properties"], json!({"a": {"type": "integer"}, "b": {"type": "array", "items": {}}}));
    // What is there may have been corrected.
    let told = String::from_utf8(infer().stderr).unwrap();
    assert!(told.contains("exists already") && told.contains("plain.things-value.json"), "{told}");
}

/// The quickstart's component, built once for all tests.
fn intake() -> Vec<u8> {
    build::component("examples/quickstart", "intake")
}

#[test]
fn a_component_that_does_not_fit_is_refused_before_it_takes_a_record() {
    let app = App::new();
    let folder = app.0.path();
    std::fs::write(folder.join("intake.wasm"), intake()).unwrap();
    let mut manifest = "[app]\nname = \"shop\"\ncomponents = [\"intake.wasm\"]\n".to_owned();
    for topic in ["created", "accepted", "review", "rejected"] {
        write!(manifest, "[topics.\"orders.{topic}\"]\npartitions = 1\n").unwrap();
    }
    std::fs::write(folder.join("heddle.toml"), manifest).unwrap();
    let quickstart =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/quickstart/contracts/orders.created-value.avsc");
    let current: Value = serde_json::from_str(&std::fs::read_to_string(quickstart).unwrap()).unwrap();
    let file = "orders.created-value.avsc";
    app.write(file, &current);
    app.ok(&["schema", "register"]);
    app.ok(&["check"]);
    app.ok(&["run", "--until-idle"]);
    // A newer version with an optional field. The component reads it unchanged.
    let mut newer = current.clone();
    newer["fields"]
        .as_array_mut()
        .unwrap()
        .push(json!({"name": "discountCode", "type": ["null", "string"], "default": null}));
    app.write(file, &newer);
    app.ok(&["schema", "register"]);
    app.ok(&["check"]);
    // An incompatible version, registered by force: a required field is gone.
    let mut broken = current;
    broken["fields"].as_array_mut().unwrap().retain(|field| field["name"] != "customerId");
    app.write(file, &broken);
    app.ok(&["schema", "set-level", "NONE"]);
    app.ok(&["schema", "register"]);
    let told = app.told(&["check"]) + &app.told(&["run", "--until-idle"]);
    insta::assert_snapshot!(told);
}

#[test]
fn schemas_evolve_while_the_component_runs() {
    let app = App::new();
    let folder = app.0.path();
    std::fs::write(folder.join("intake.wasm"), intake()).unwrap();
    let mut manifest = "[app]\nname = \"shop\"\ncomponents = [\"intake.wasm\"]\n".to_owned();
    for topic in ["created", "accepted", "review", "rejected"] {
        write!(manifest, "[topics.\"orders.{topic}\"]\npartitions = 1\n").unwrap();
    }
    std::fs::write(folder.join("heddle.toml"), manifest).unwrap();
    let contracts = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/quickstart/contracts");
    let (subject, file) = ("orders.created-value", "orders.created-value.avsc");
    let current: Value = serde_json::from_str(&std::fs::read_to_string(contracts.join(file)).unwrap()).unwrap();
    app.write(file, &current);
    let alerts = std::fs::File::create(folder.join("alerts")).unwrap();
    let _host = Ended(app.command(&["run"]).stderr(alerts).stdout(Stdio::null()).spawn().unwrap());
    // The number of handled records, once the host reports at least this many.
    let handled = |at_least: u64| {
        for _ in 0..1_800 {
            let output = app.run(&["status", "--json"]);
            let status = serde_json::from_slice::<Value>(&output.stdout).unwrap_or_default();
            if status["in"].as_u64().is_some_and(|count| count >= at_least) {
                return (status["in"].as_u64().unwrap(), status["failed"].as_u64().unwrap());
            }
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
        panic!("the host did not handle {at_least} records");
    };
    let produce = |more: Value| {
        let mut order = json!({"orderId": "O-1", "customerId": "C-1", "orderDate": 0, "totalAmount": 2.5,
            "items": [{"productId": "P-1", "quantity": 1, "price": 2.5}]});
        order.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let path = folder.join("order.jsonl");
        std::fs::write(&path, format!("{order}\n")).unwrap();
        app.ok(&["produce", "orders.created", "--file", path.to_str().unwrap()]);
    };
    assert_eq!(handled(0), (0, 0));
    produce(json!({}));
    assert_eq!(handled(1), (1, 0));
    app.ok(&["schema", "set-level", "FULL", "--subject", subject]);
    // A required field is refused, with its path.
    let with = |field: Value| {
        let mut newer = current.clone();
        newer["fields"].as_array_mut().unwrap().push(field);
        newer
    };
    app.write(file, &with(json!({"name": "channel", "type": "string"})));
    let refused = app.told(&["schema", "register"]);
    assert!(refused.contains("`channel`") && refused.contains("exit 1"), "{refused}");
    produce_is_refused(&app);
    // An optional field is accepted: the component was built without it, and reads such records nevertheless.
    app.write(file, &with(json!({"name": "discountCode", "type": ["null", "string"], "default": null})));
    app.ok(&["schema", "register"]);
    produce(json!({"discountCode": "SPRING"}));
    assert_eq!(handled(2), (2, 0));
    // An incompatible version, registered by force. Its records are dead-lettered with the reason, the others flow.
    app.ok(&["schema", "set-level", "NONE", "--subject", subject]);
    let mut broken = current.clone();
    broken["fields"].as_array_mut().unwrap().retain(|field| field["name"] != "customerId");
    app.write(file, &broken);
    let broken = serde_json::from_str::<Value>(&app.ok(&["schema", "register", "--json"])).unwrap()["id"].clone();
    let path = folder.join("broken.jsonl");
    std::fs::write(&path, "{\"orderId\":\"O-3\",\"orderDate\":0,\"totalAmount\":2.5,\"items\":[]}\n").unwrap();
    app.ok(&["produce", "orders.created", "--file", path.to_str().unwrap()]);
    assert_eq!(handled(3), (3, 1));
    app.ok(&["produce", "orders.created", "--file", path.to_str().unwrap()]);
    assert_eq!(handled(4), (4, 2));
    app.write(file, &with(json!({"name": "discountCode", "type": ["null", "string"], "default": null})));
    produce(json!({"discountCode": "AUTUMN"}));
    assert_eq!(handled(5), (5, 2));
    undecodable_records_are_reported(folder, &broken);
}

/// The log has one alert, the metrics have the count.
fn undecodable_records_are_reported(folder: &Path, schema: &Value) {
    let told = std::fs::read_to_string(folder.join("alerts")).unwrap();
    let alerts = told.lines().filter(|line| line.contains("do not decode")).collect::<Vec<_>>();
    assert_eq!(alerts.len(), 1, "{told}");
    assert!(alerts[0].contains("heddle::alert") && alerts[0].contains("customerId"), "{told}");
    let address = std::fs::read_to_string(folder.join(".heddle/admin-address")).unwrap();
    let metrics = ureq::get(format!("http://{}/metrics", address.trim())).call().unwrap().body_mut().read_to_string();
    let line = format!("heddle_undecodable_schemas{{component=\"shop.intake\",schema=\"{schema}\"}} 2");
    let metrics = metrics.unwrap();
    assert!(metrics.lines().any(|other| other == line), "{line}\n{metrics}");
}

/// The schema in the app's folder is not accepted by the subject, so nothing is written with it.
fn produce_is_refused(app: &App) {
    let path = app.0.path().join("refused.jsonl");
    std::fs::write(&path, "{}\n").unwrap();
    let output = app.run(&["produce", "orders.created", "--file", path.to_str().unwrap()]);
    assert!(!output.status.success());
}

const ORDER_PROTO: &str = "syntax = \"proto3\";\npackage shop;\nimport \"shop/money.proto\";\nimport \"google/protobuf/timestamp.proto\";\n\nmessage OrderPaid {\n  string order_id = 1;\n  Money total = 2;\n  google.protobuf.Timestamp at = 3;\n}\n";
const MONEY_PROTO: &str = "syntax = \"proto3\";\npackage shop;\n\nmessage Money {\n  int64 cents = 1;\n}\n";

fn shipped(more: &Value) -> Value {
    let mut schema = json!({"$schema": "http://json-schema.org/draft-07/schema#", "title": "OrderShipped",
        "type": "object", "properties": {"orderId": {"type": "string"}}, "required": ["orderId"]});
    schema["properties"].as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    schema
}

/// Runs all commands of `heddle schema` on files with imports. Returns their output.
fn other_formats_are_told(app: &App) -> String {
    let text = |file: &str, text: &str| {
        let path = app.0.path().join("contracts").join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    text("orders.paid-value.proto", ORDER_PROTO);
    text("shop/money.proto", MONEY_PROTO);
    app.write("orders.shipped-value.json", &shipped(&json!({})));
    // A file that is neither a subject's nor imported by one is ignored.
    app.write("package.json", &json!({"type": "commonjs"}));
    let mut told = app.told(&["schema", "check"]);
    told += &app.told(&["schema", "register"]);
    told += &app.told(&["schema", "register", "--json"]);
    told += &app.told(&["schema", "list"]);
    told += &app.told(&["schema", "list", "--json"]);
    told += &app.told(&["schema", "lint"]);
    // An additional field is accepted. A changed type is not, also in an imported file.
    app.write("orders.shipped-value.json", &shipped(&json!({"orderId": {"type": "integer"}})));
    text("shop/money.proto", &MONEY_PROTO.replace("int64", "string"));
    text("orders.paid-value.proto", &ORDER_PROTO.replace("at = 3;", "at = 3;\n  string note = 4;"));
    told += &app.told(&["schema", "check"]);
    told += &app.told(&["schema", "check", "orders.shipped-value", "--json"]);
    told += &app.told(&["schema", "register", "orders.shipped-value"]);
    text("shop/money.proto", MONEY_PROTO);
    told += &app.told(&["schema", "check", "orders.paid-value"]);
    told += &app.told(&["schema", "register", "orders.paid-value"]);
    told += &app.told(&["schema", "diff", "orders.paid-value", "1", "2"]);
    told += &app.told(&["schema", "get", "orders.paid-value"]);
    told
}

#[test]
fn json_schema_and_protobuf_are_checked_and_registered_with_what_they_import() {
    let app = App::new();
    let told = other_formats_are_told(&app);
    insta::assert_snapshot!(told);
    // A remote registry gets the same commands, and the output is the same.
    let remote = App::new();
    let mut server = Command::new(env!("CARGO_BIN_EXE_heddle"));
    server.args(["registry", "--listen", "127.0.0.1:0", "--data"]).arg(remote.0.path().join("server"));
    let mut server = Ended(server.stderr(Stdio::piped()).spawn().unwrap());
    let mut lines = std::io::BufReader::new(server.0.stderr.take().unwrap()).lines();
    let url = lines.next().unwrap().unwrap().rsplit(' ').next().unwrap().to_owned();
    let manifest = format!("[app]\nname = \"shop\"\n[registry]\nurl = \"{url}\"\n");
    std::fs::write(remote.0.path().join("heddle.toml"), manifest).unwrap();
    assert_eq!(other_formats_are_told(&remote).replace(&url, "APP/.heddle/registry"), told);
}

#[test]
fn schemas_of_topics_are_fetched() {
    let app = App::new();
    let contracts = app.0.path().join("contracts");
    app.write("orders.created-key.avsc", &order(&[]));
    app.write("orders.created-value.avsc", &order(&[]));
    std::fs::write(contracts.join("orders.paid-value.proto"), ORDER_PROTO).unwrap();
    std::fs::create_dir(contracts.join("shop")).unwrap();
    std::fs::write(contracts.join("shop/money.proto"), MONEY_PROTO).unwrap();
    app.ok(&["schema", "register"]);
    std::fs::remove_dir_all(&contracts).unwrap();
    let mut told = app.told(&["schema", "fetch", "orders.created"]);
    let file = std::fs::read_to_string(contracts.join("orders.created-value.avsc")).unwrap();
    assert_eq!(serde_json::from_str::<Value>(&file).unwrap(), order(&[]));
    app.write("orders.created-key.avsc", &json!("string"));
    told += &app.told(&["schema", "fetch", "orders.created"]);
    told += &app.told(&["schema", "fetch", "orders.created-value", "shop/money.proto", "orders.paid"]);
    told += &app.told(&["schema", "fetch", "orders"]);
    insta::assert_snapshot!(told);
}

#[test]
fn files_of_other_formats_that_are_wrong_say_where() {
    let app = App::new();
    let write = |file: &str, text: &str| std::fs::write(app.0.path().join("contracts").join(file), text).unwrap();
    let mut told = String::new();
    let file = "orders.paid-value.proto";
    for (name, text) in [
        (file, ORDER_PROTO),
        (file, "syntax = \"proto3\";\nimport \"../secrets.proto\";\n"),
        (file, "syntax = \"proto3\";\nmessage Order {\n  string id = 1;\n  string other = 1;\n}\n"),
        (file, "syntax = \"proto3\";\nimport \"orders.paid-value.proto\";\n"),
        ("orders.paid-value.json", "{\"type\": \"objekt\"}"),
        ("orders.paid-value.json", "{\"$ref\": \"https://example.org/other.json\"}"),
    ] {
        write(name, text);
        told += &app.told(&["schema", "check"]);
        std::fs::remove_file(app.0.path().join("contracts").join(name)).unwrap();
    }
    app.write("orders.paid-value.avsc", &order(&[]));
    write("orders.paid-value.json", "{\"type\": \"object\"}");
    told += &app.told(&["schema", "register"]);
    insta::assert_snapshot!(told);
}

#[test]
fn a_component_and_its_subject_have_one_format() {
    let app = App::new();
    let folder = app.0.path();
    std::fs::write(folder.join("intake.wasm"), intake()).unwrap();
    let mut manifest = "[app]\nname = \"shop\"\ncomponents = [\"intake.wasm\"]\n".to_owned();
    for topic in ["created", "accepted", "review", "rejected"] {
        write!(manifest, "[topics.\"orders.{topic}\"]\npartitions = 1\n").unwrap();
    }
    std::fs::write(folder.join("heddle.toml"), manifest).unwrap();
    app.write("orders.created-value.json", &shipped(&json!({})));
    app.ok(&["schema", "register"]);
    std::fs::remove_file(folder.join("contracts/orders.created-value.json")).unwrap();
    let mut told = app.told(&["check"]);
    std::fs::write(folder.join("order.jsonl"), "{}\n").unwrap();
    let path = folder.join("order.jsonl");
    told += &app.told(&["produce", "orders.created", "--file", path.to_str().unwrap()]);
    insta::assert_snapshot!(told);
}
