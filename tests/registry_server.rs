//! `heddle registry` as other processes use it: real clients, `kill -9` during writes, Confluent's error codes.

mod codes;

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use heddle::build::cache_folder;
use serde_json::{Value, json};

use crate::support::registry::{Server, ask};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn clients() -> PathBuf {
    fetched("scripts/fetch-registry-clients")
}

fn fetched(script: &str) -> PathBuf {
    // One at a time, because two tests may fetch the same clients.
    static FETCHING: Mutex<()> = Mutex::new(());
    let _one_at_a_time = FETCHING.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let fetched = Command::new("bash").arg(root().join(script)).stderr(Stdio::inherit()).output();
    let fetched = fetched.expect("running the script");
    assert!(fetched.status.success(), "this test needs real clients, and {script} failed (see above)");
    PathBuf::from(String::from_utf8(fetched.stdout).unwrap().trim())
}

fn passes(command: &mut Command, tests: &[&str]) {
    let output = command.output().unwrap();
    let (told, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{told}\n{errors}");
    for test in tests {
        assert!(told.contains(&format!("{test}: ok")), "{told}");
    }
}

#[test]
fn confluents_python_client_works_with_the_embedded_registry() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    let mut python = Command::new(clients().join("python/bin/python"));
    python.arg(root().join("tests/registry_clients/client.py")).arg(&server.url);
    passes(&mut python, &["avro", "references", "json", "protobuf", "deletes"]);
}

#[test]
fn the_clients_of_npm_work_with_the_embedded_registry() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    let modules = clients().join("node");
    let mut node = Command::new("node");
    node.arg(root().join("tests/registry_clients/client.mjs")).arg(&server.url).arg(modules);
    passes(&mut node, &["kafkajs", "confluentinc"]);
}

/// The client's own classes (7.5.3), in the package in which Flink's connector ships them: see the script.
#[test]
fn confluents_java_client_works_with_the_embedded_registry() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    let jars = fetched("scripts/fetch-confluent-java").join("*");
    let mut java = Command::new("java");
    java.args(["-Xmx256m", "-XX:+UseSerialGC", "-cp"]).arg(jars);
    java.arg(root().join("tests/registry_clients/ConfluentClient.java")).arg(&server.url);
    passes(&mut java, &["schemas", "evolution", "references", "levels and modes", "deletes"]);
}

#[test]
fn the_client_of_crates_io_works_with_the_embedded_registry() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    let mut client = Command::new("cargo");
    client.env_remove("RUSTC_BOOTSTRAP");
    client.args(["run", "--quiet", "--locked", "--manifest-path"]);
    client.arg(root().join("tests/registry_clients/rust/Cargo.toml"));
    // Kept between runs, outside of the source tree.
    client.arg("--target-dir").arg(cache_folder().join("registry-client")).args(["--", &server.url]);
    passes(&mut client, &["subjects", "avro", "refusals"]);
}

#[allow(clippy::needless_pass_by_value)] // callers write the fields in place
/// The status of an answer, and its error code.
fn code(answer: (u16, Value)) -> (u16, u64) {
    (answer.0, answer.1["error_code"].as_u64().unwrap_or(0))
}

fn record(name: &str, fields: Value) -> Value {
    json!({"type": "record", "name": name, "fields": fields})
}

const WRITERS: usize = 20;
const REGISTRATIONS: usize = 1_000;

#[test]
fn answered_ids_survive_kill_9_and_no_id_has_two_schemas() {
    let folder = tempfile::tempdir().unwrap();
    // The ids in the answers, by subject and number of the schema.
    let answered = Arc::new(Mutex::new(BTreeMap::<usize, u64>::new()));
    let mut next = 0;
    for kill_after in [1, 60, 200, 350] {
        let mut server = Server::start(folder.path(), &[]);
        let (url, numbers) = (server.url.clone(), Arc::new(AtomicUsize::new(next)));
        let threads = (0..WRITERS).map(|_| {
            let (url, numbers, answered) = (url.clone(), numbers.clone(), answered.clone());
            std::thread::spawn(move || {
                loop {
                    let number = numbers.fetch_add(1, Ordering::SeqCst);
                    // Each schema is registered by two writers at once, under two subjects.
                    let name = format!("S{}", number / 2);
                    let body = json!({"schema": record(&name, json!([])).to_string()});
                    let path = format!("/subjects/kill-{number}/versions");
                    if number >= REGISTRATIONS {
                        return;
                    }
                    match ask(&url, "POST", &path, Some(&body), &[]) {
                        Ok((200, answer)) => {
                            answered.lock().unwrap().insert(number, answer["id"].as_u64().unwrap());
                        }
                        Ok(other) => panic!("{other:?}"),
                        // The server is gone.
                        Err(_) => return,
                    }
                }
            })
        });
        let threads = threads.collect::<Vec<_>>();
        let before = answered.lock().unwrap().len();
        while answered.lock().unwrap().len() < before + kill_after {
            std::thread::sleep(Duration::from_millis(1));
        }
        server.child.kill().unwrap();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        next = numbers.load(Ordering::SeqCst).min(REGISTRATIONS);
    }
    let server = Server::start(folder.path(), &[]);
    let answered = answered.lock().unwrap();
    assert!(answered.len() > 600, "{} were answered", answered.len());
    let mut schemas = BTreeMap::<u64, String>::new();
    for (number, id) in answered.iter() {
        let (status, schema) = server.get(&format!("/schemas/ids/{id}"));
        let text = schema["schema"].as_str().unwrap().to_owned();
        assert_eq!((status, text.contains(&format!("\"S{}\"", number / 2))), (200, true), "{number}: {id} is {text}");
        let (_, version) = server.get(&format!("/subjects/kill-{number}/versions/latest"));
        assert_eq!(version["id"], *id);
        assert_eq!(schemas.entry(*id).or_insert_with(|| text.clone()), &text);
    }
    // Conversely, each schema has one id.
    let texts = schemas.values().collect::<std::collections::BTreeSet<_>>();
    assert_eq!(texts.len(), schemas.len());
    let (_, new) = server.register("after", &record("After", json!([])));
    assert!(new["id"].as_u64().unwrap() > *schemas.last_key_value().unwrap().0);
}

#[test]
fn only_its_user_is_answered() {
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("password");
    std::fs::write(&secret, "s3cret\n").unwrap();
    let server =
        Server::start(&folder.path().join("data"), &["--user", "ci", "--password-file", secret.to_str().unwrap()]);
    let body = json!({"schema": "\"int\""});
    let as_user = |method: &str, path: &str, body: Option<&Value>, authorization: &str| {
        ask(&server.url, method, path, body, &[("Authorization", authorization)]).unwrap()
    };
    let path = "/subjects/s/versions";
    assert_eq!(server.ask("POST", path, Some(&body)).0, 401);
    assert_eq!(as_user("POST", path, Some(&body), "Basic Y2k6d3Jvbmc=").0, 401);
    assert_eq!(as_user("POST", path, Some(&body), "Basic Y2k6czNjcmV0").0, 200);
    assert_eq!(as_user("GET", "/subjects", None, "Basic Y2k6czNjcmV0"), (200, json!(["s"])));
    // Reads require the user as well, health does not.
    assert_eq!(server.get("/subjects").0, 401);
    assert_eq!(server.ask("POST", "/subjects/s", Some(&body)).0, 401);
    assert_eq!(server.ask("PUT", "/config", Some(&json!({"compatibility": "NONE"}))).0, 401);
    assert_eq!(server.ask("DELETE", "/subjects/s", None).0, 401);
    assert_eq!(server.get("/health").0, 200);
    // The command line says what to correct.
    std::fs::write(folder.path().join("heddle.toml"), "[app]\nname = \"shop\"\n").unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_heddle"));
    command.args(["schema", "set-level", "FULL", "--app"]).arg(folder.path()).env("HEDDLE_REGISTRY_URL", &server.url);
    let output = command.env("HEDDLE_REGISTRY_USERNAME", "guest").output().unwrap();
    let told = String::from_utf8(output.stderr).unwrap().replace(&server.url, "http://REGISTRY");
    insta::assert_snapshot!(told, @r"
    error: the schema registry at http://REGISTRY refuses the user (401)
      at: http://REGISTRY
      hint: correct [registry] username and password (HEDDLE_REGISTRY_USERNAME, HEDDLE_REGISTRY_PASSWORD)
    ");
}

#[test]
fn a_body_over_the_limit_is_refused_however_it_comes() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    let address = server.url.trim_start_matches("http://").parse::<SocketAddr>().unwrap();
    let schema = |bytes: usize| {
        let around = json!({"schema": "\"int\"", "x": ""}).to_string().len();
        json!({"schema": "\"int\"", "x": "x".repeat(bytes - around)})
    };
    let register = |body: &Value| server.ask("POST", "/subjects/s/versions", Some(body));
    // The limit itself is accepted, one byte more is not.
    assert_eq!(register(&schema(1 << 20)).0, 200);
    let (status, answer) = register(&schema((1 << 20) + 1));
    assert_eq!((status, &answer["error_code"]), (413, &json!(413)));
    assert_eq!(answer["message"], "The body of the request is larger than 1048576 bytes");
    // A body without a length, and one without an end.
    let chunk = format!("10000\r\n{}\r\n", "x".repeat(0x10000));
    let head = "POST /subjects/s/versions HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n";
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(format!("{head}{}0\r\n\r\n", chunk.repeat(17)).as_bytes()).unwrap();
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 413");
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_write_timeout(Some(Duration::from_secs(30))).unwrap();
    stream.write_all(head.as_bytes()).unwrap();
    let cut_off = (0..4_096).find(|_| stream.write_all(chunk.as_bytes()).is_err());
    assert!(cut_off.is_some(), "256 MiB were taken");
}

#[test]
fn requests_before_the_stop_are_answered() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = Server::start(folder.path(), &[]);
    let address = server.url.trim_start_matches("http://").parse::<SocketAddr>().unwrap();
    let idle = TcpStream::connect(address).unwrap();
    let body = json!({"schema": "\"int\""}).to_string();
    let mut asked = TcpStream::connect(address).unwrap();
    let head =
        format!("POST /subjects/s/versions HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n", body.len());
    asked.write_all(head.as_bytes()).unwrap();
    // This answer shows that the earlier connections were accepted.
    assert_eq!(server.get("/subjects").0, 200);
    let told = Command::new("kill").arg("-TERM").arg(server.child.id().to_string()).status().unwrap();
    assert!(told.success());
    // After the signal, no new connections are accepted.
    while TcpStream::connect(address).is_ok() {
        std::thread::sleep(Duration::from_millis(10));
    }
    asked.write_all(body.as_bytes()).unwrap();
    let mut answer = String::new();
    asked.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("{\"id\":1,"), "{answer}");
    assert!(server.child.wait().unwrap().success());
    drop(idle);
}

/// Content of other registries: names that Avro forbids, defaults that do not fit, comments.
#[test]
fn import_mode_accepts_ids_and_versions_of_other_registries() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    let field = |name: &str, default: Value| json!({"name": name, "type": "long", "default": default});
    let strange = [
        record("bank-audit.Entry$", json!([field("a-b", json!(0)), field("2nd", json!(0))])),
        record("bank.Card", json!([field("limit", json!("0")), field("since", Value::Null)])),
        json!({"type": "enum", "name": "Kind", "symbols": ["IN-OUT", "1"], "default": "gone"}),
    ];
    for schema in &strange {
        assert_eq!(code(server.register("kept", schema)), (422, 42201), "{schema}");
    }
    // Avro for Java did not validate namespaces before 1.12.
    assert_eq!(server.register("journal", &record("bank.audit-team.Journal$.Entry", json!([]))).0, 200);
    assert_eq!(server.ask("PUT", "/mode/kept", Some(&json!({"mode": "IMPORT"}))).0, 200);
    for (id, schema) in (700..).zip(&strange) {
        let body = json!({"schema": schema.to_string(), "id": id, "version": id});
        let (status, answer) = server.ask("POST", "/subjects/kept/versions", Some(&body));
        assert_eq!((status, &answer["id"]), (200, &json!(id)), "{schema}");
    }
    // They can be looked up, and coexist with later versions.
    assert_eq!(
        server.ask("POST", "/subjects/kept", Some(&json!({"schema": strange[0].to_string()}))).1["version"],
        700
    );
    assert_eq!(server.ask("PUT", "/mode/kept", Some(&json!({"mode": "READWRITE"}))).0, 200);
    assert_eq!(server.ask("PUT", "/config/kept", Some(&json!({"compatibility": "NONE"}))).0, 200);
    let commented = "\u{feff}/* a licence */ {\"type\": \"record\", \"name\": \"Later\", // now\n \"fields\": []}";
    let id = server.ask("POST", "/subjects/kept/versions", Some(&json!({"schema": commented}))).1["id"].clone();
    assert_eq!(
        server.get(&format!("/schemas/ids/{id}")).1["schema"],
        r#"{"type":"record","name":"Later","fields":[]}"#
    );
}
