//! Answers of other registries and of proxies before them: which ones mean "not found", and which ones require a retry.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};

use crate::support::server::serve;
use axum::Router;
use axum::extract::Request;
use axum::http::{Method, StatusCode};
use heddle::guest::Schemas as _;
use heddle::registry::format::Entry;
use heddle::registry::{Cached, Client, ClientOptions, Registry as _, RegistryError, SchemaId};
use heddle_contract::section::SchemaFormat;
use heddle_core::explain::to_text;
use serde_json::{Value, json};

const LINE: &str = r#"{"type":"record","name":"Line","fields":[]}"#;

/// A registry whose answers come from `answer`. It records the requests.
struct Played {
    url: String,
    asked: Arc<Mutex<Vec<String>>>,
}

type Answer = (u16, String);

impl Played {
    fn start(answer: impl Fn(&Method, &str) -> Answer + Clone + Send + Sync + 'static) -> Self {
        let asked = Arc::new(Mutex::new(vec![]));
        let noted = asked.clone();
        let answer = move |request: Request| {
            let path = request.uri().to_string();
            noted.lock().unwrap().push(format!("{} {path}", request.method()));
            let (status, body) = answer(request.method(), &path);
            async move { (StatusCode::from_u16(status).unwrap(), body) }
        };
        let url = serve(Router::new().fallback(answer));
        Self { url, asked }
    }

    fn client(&self) -> Client {
        Client::new(ClientOptions { url: self.url.clone(), retries_max: 0, ..ClientOptions::default() })
    }

    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }
}

fn refusal(code: u64) -> Answer {
    let status = if code >= 1_000 { code / 100 } else { code };
    (u16::try_from(status).unwrap(), json!({"error_code": code, "message": "as the test says"}).to_string())
}

fn schema(text: &str) -> Answer {
    (200, json!({ "schema": text }).to_string())
}

#[test]
fn only_the_registrys_own_answer_proves_that_a_schema_is_missing() {
    let played = Played::start(|_, path| match path.rsplit('/').next().unwrap() {
        "40403" => refusal(40403),
        "400" => refusal(400),
        "422" => refusal(42205),
        "404" => refusal(404),
        "html404" => (404, "<html>\n<h1>404</h1>\nnginx</html>".to_owned()),
        _ => (404, "<html><h1>404</h1></html>".to_owned()),
    });
    let client = played.client();
    for id in [40403, 400, 422] {
        assert_eq!(client.by_id(SchemaId(id)).unwrap(), None, "{id}");
    }
    // A proxy or a wrong address answers, so nothing is known about the schema.
    let error = client.by_id(SchemaId(404)).unwrap_err();
    assert!(matches!(error, RegistryError::Answered { status: 404, .. }), "{error}");
    let error = client.by_id(SchemaId(7)).unwrap_err();
    assert!(matches!(error, RegistryError::Foreign { status: 404, .. }), "{error}");
    let error = client.latest("html404").map(drop).unwrap_err().to_string();
    assert!(!error.contains('\n'), "{error}");
    client.versions("x").map(drop).unwrap_err();
    client.lookup("x", &Entry::new(SchemaFormat::Avro, LINE)).unwrap_err();
    // So a record waits for the registry instead of being dead-lettered.
    let cached = Cached::new(Arc::new(played.client()));
    assert!(cached.writer(SchemaId(40403)).unwrap().is_none());
    cached.writer(SchemaId(7)).map(drop).unwrap_err();
}

#[test]
fn only_a_registry_counts_as_one() {
    let page = || "<!DOCTYPE html>\n<html><title>Log in</title></html>".to_owned();
    let of = |answer: Answer| Played::start(move |_, _| answer.clone());
    let level = json!({"compatibilityLevel": "NONE"}).to_string();
    for (status, body) in [(200, level), refusal(40301), (403, page()), (401, String::new())] {
        of((status, body.clone())).client().ping().unwrap_or_else(|error| panic!("{status} {body}: {error}"));
    }
    let other = (200, r#"{"status":"UP"}"#.to_owned());
    for (status, body) in [(200, page()), (404, page()), (200, String::new()), other, refusal(404)] {
        let played = of((status, body.clone()));
        let error = played.client().ping().unwrap_err();
        assert!(matches!(error, RegistryError::Foreign { status: told, .. } if told == status), "{body}: {error}");
        let told = to_text(&error);
        assert!(told.contains(&format!("the server at {} is not a schema registry", played.url)), "{told}");
        assert!(told.contains("hint: correct [registry] url"), "{told}");
    }
    // What is down behind a proxy is not a wrong address.
    let error = of((502, page())).client().ping().unwrap_err();
    assert!(matches!(error, RegistryError::Answered { status: 502, .. }), "{error}");
}

#[test]
fn a_host_does_not_start_with_a_page_in_place_of_a_registry() {
    assert!(command(&quickstart(), &["build"]).output().unwrap().status.success());
    let played = Played::start(|_, _| (200, "<html><title>Welcome</title></html>".to_owned()));
    let app = tempfile::tempdir().unwrap();
    std::fs::copy(quickstart().join("components/intake/intake.wasm"), app.path().join("intake.wasm")).unwrap();
    let manifest = format!(
        "[app]\nname = \"shop\"\ncomponents = [\"intake.wasm\"]\n[registry]\nurl = \"{}\"\nretries = 0\n",
        played.url
    );
    std::fs::write(app.path().join("heddle.toml"), manifest).unwrap();
    for arguments in [&["check"][..], &["run", "--until-idle"], &["schema", "list"]] {
        let output = command(app.path(), arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        let error = told(output);
        assert!(error.contains("is not a schema registry: it answered 200: <html>"), "{arguments:?}: {error}");
        assert!(error.contains("hint: correct [registry] url"), "{arguments:?}: {error}");
    }
}

#[test]
fn a_reference_that_was_deleted_is_still_resolved() {
    let played = Played::start(|_, path| match path {
        "/schemas/ids/2" => {
            let text = r#"{"type":"record","name":"Order","fields":[{"name":"line","type":"Line"}]}"#;
            let references = json!([{"name": "Line", "subject": "line", "version": 1}]);
            (200, json!({"schema": text, "references": references}).to_string())
        }
        "/subjects/line/versions/1?deleted=true" => schema(LINE),
        _ => refusal(40401),
    });
    let text = played.client().by_id(SchemaId(2)).unwrap().unwrap().text;
    heddle_contract::format::avro::parse("order", &text).unwrap();
}

#[test]
fn a_schema_is_looked_up_before_it_is_registered() {
    let played = Played::start(|method, path| match (method, path) {
        (&Method::POST, "/subjects/there") => (200, json!({"id": 7}).to_string()),
        (&Method::POST, "/subjects/new" | "/subjects/barred") => refusal(40401),
        (&Method::POST, "/subjects/new/versions") => (200, json!({"id": 8}).to_string()),
        (&Method::POST, "/subjects/barred/versions") => refusal(40301),
        _ => refusal(500),
    });
    let client = played.client();
    assert_eq!(client.register("there", LINE).unwrap(), SchemaId(7));
    assert_eq!(played.asked(), ["POST /subjects/there"]);
    assert_eq!(client.register("new", LINE).unwrap(), SchemaId(8));
    let error = client.register("barred", LINE).unwrap_err();
    assert!(matches!(&error, RegistryError::MayNotRegister { subject, .. } if subject == "barred"), "{error}");
}

#[test]
fn a_default_that_does_not_fit_does_not_matter_in_a_writers_schema() {
    let text = json!({"type": "record", "name": "Card", "fields": [
        {"name": "holder", "type": "string", "default": null},
        {"name": "limit", "type": "long", "default": "0"},
        {"name": "kind", "type": {"type": "enum", "name": "Kind", "symbols": ["A"], "default": "B"}},
        {"name": "open", "type": "boolean", "default": true},
    ]})
    .to_string();
    let text_there = text.clone();
    let played = Played::start(move |_, _| schema(&text_there));
    let found = Cached::new(Arc::new(played.client())).writer(SchemaId(1)).unwrap().unwrap();
    let mut bytes = vec![];
    let card = json!({"holder": "Ada", "limit": 5, "kind": "A", "open": false});
    found.encode(&card, &mut bytes).unwrap();
    assert_eq!(found.decode(&bytes).unwrap(), card);
    heddle_contract::format::avro::parse("a reader", &text).unwrap_err();
}

fn command(app: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_heddle"));
    command.args(arguments).arg("--app").arg(app).env("HEDDLE_ADMIN_LISTEN", "127.0.0.1:0");
    command
}

fn told(output: Output) -> String {
    String::from_utf8(output.stderr).unwrap()
}

fn quickstart() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/quickstart")
}

/// A registry that has the quickstart's schemas and refuses to register others.
fn read_only() -> Played {
    let mut schemas = vec![];
    for entry in std::fs::read_dir(quickstart().join("contracts")).unwrap() {
        let path = entry.unwrap().path();
        let subject = path.file_stem().unwrap().to_str().unwrap().to_owned();
        schemas.push((subject, std::fs::read_to_string(&path).unwrap()));
    }
    schemas.sort();
    Played::start(move |method, path| {
        let path = percent_encoding::percent_decode_str(path).decode_utf8().unwrap();
        let parts = path.split('?').next().unwrap().trim_matches('/').split('/').collect::<Vec<_>>();
        let found = |subject: &str| schemas.iter().position(|(name, _)| name == subject);
        let version = |number: usize| {
            let (subject, text) = &schemas[number];
            (200, json!({"subject": subject, "version": 1, "id": number + 1, "schema": text}).to_string())
        };
        match (method, parts.as_slice()) {
            (&Method::POST, ["subjects", _, "versions"]) => refusal(40301),
            (_, ["subjects", subject]) => found(subject).map_or_else(|| refusal(40401), version),
            (_, ["subjects", subject, "versions"]) => {
                found(subject).map_or_else(|| refusal(40401), |_| (200, "[1]".to_owned()))
            }
            (_, ["subjects", subject, "versions", _]) => found(subject).map_or_else(|| refusal(40401), version),
            (_, ["schemas", "ids", id]) => version(id.parse::<usize>().unwrap() - 1),
            (_, ["config", ..]) => (200, json!({"compatibilityLevel": "BACKWARD"}).to_string()),
            _ => refusal(404),
        }
    })
}

#[test]
fn an_app_runs_with_a_registry_that_it_may_only_read() {
    assert!(command(&quickstart(), &["build"]).output().unwrap().status.success());
    let played = read_only();
    let app = tempfile::tempdir().unwrap();
    std::fs::copy(quickstart().join("components/intake/intake.wasm"), app.path().join("intake.wasm")).unwrap();
    let contracts = app.path().join("contracts");
    std::fs::create_dir(&contracts).unwrap();
    let mut manifest = "[app]\nname = \"shop\"\ncomponents = [\"intake.wasm\"]\n".to_owned();
    write!(manifest, "[registry]\nurl = \"{}\"\nregister = \"never\"\nretries = 0\n", played.url).unwrap();
    for topic in ["created", "accepted", "review", "rejected"] {
        write!(manifest, "[topics.\"orders.{topic}\"]\npartitions = 1\n").unwrap();
    }
    std::fs::write(app.path().join("heddle.toml"), &manifest).unwrap();
    for arguments in [&["check"][..], &["run", "--until-idle"]] {
        let output = command(app.path(), arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", told(output));
    }
    assert!(played.asked().iter().all(|asked| !asked.starts_with("POST") || !asked.ends_with("/versions")));
    // A schema that is not registered.
    std::fs::write(contracts.join("orders.other-value.avsc"), LINE).unwrap();
    std::fs::write(app.path().join("heddle.toml"), manifest.clone() + "[topics.\"orders.other\"]\n").unwrap();
    let line = app.path().join("line.jsonl");
    std::fs::write(&line, "{}\n").unwrap();
    let produce = ["produce", "orders.other", "--file", line.to_str().unwrap()];
    let output = command(app.path(), &produce).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let error = told(output);
    assert!(
        error.starts_with("error: the schema of `orders.other-value` is not registered, and [registry] register"),
        "{error}"
    );
    let output = command(app.path(), &produce).env("HEDDLE_REGISTRY_REGISTER", "auto").output().unwrap();
    let error = told(output);
    assert!(error.contains("does not let this user register it (403)") && error.contains("DeveloperWrite"), "{error}");
}

#[test]
fn a_misspelt_schema_file_is_reported() {
    let app = tempfile::tempdir().unwrap();
    let write = |file: &str, text: &str| {
        let path = app.path().join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    let text = |value: Value| value.to_string();
    write("heddle.toml", "[app]\nname = \"shop\"\n[topics.\"orders.audit\"]\n");
    let component =
        "[component]\nname = \"c\"\nlanguage = \"rust\"\n[consumes.\"orders.created\"]\n[emits.\"orders.done\"]\n";
    write("components/c/component.toml", component);
    let fields = json!([{"name": "id", "type": "string"}]);
    let record = |name: &str| text(json!({"type": "record", "name": name, "fields": fields}));
    write("contracts/orders.craeted-value.avsc", &record("Created"));
    write("contracts/orders.done-value.avsc", &record("Done"));
    write("contracts/orders.audit-key.avsc", &record("Audit"));
    write("contracts/Money.avsc", &record("Money"));
    let output = command(app.path(), &["build", "--wit-only"]).output().unwrap();
    let done = output.status.success();
    let lines = told(output);
    assert!(done, "{lines}");
    let warnings = lines.lines().filter(|line| line.starts_with("warning: ")).collect::<Vec<_>>();
    assert_eq!(
        warnings,
        [
            "warning: the schema file `orders.craeted-value` belongs to no topic of the app; did you mean `orders.created-value`?",
            "warning: the topic `orders.created` of the component `c` has no schema `orders.created-value`: its values are bytes"
        ]
    );
}
