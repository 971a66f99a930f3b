//! Versions that do not fit. Each is refused with a remedy, and the running version continues.

use heddle_contract::section;
use heddle_core::event::NewRecord;
use serde_json::{Value, json};

use crate::reload::host::{Host, wait_until};
use crate::reload::platform::{Orders, Platform, bookings, check_bookings, ledger, without_digests};
use crate::reload::versions::{LOOPS, TRAPS, numbered, starting_with, with_manifest};

/// The ledger with a changed schema of its stored values.
fn with_account(wasm: &[u8], change: impl Fn(&mut Value)) -> Vec<u8> {
    let mut contract = section::extract(wasm).unwrap();
    let (_, schema) = contract.schemas.iter_mut().find(|(_, schema)| schema.text.contains("\"Account\"")).unwrap();
    let mut account: Value = serde_json::from_str(&schema.text).unwrap();
    change(&mut account);
    schema.text = account.to_string();
    section::embed(wasm, &contract).unwrap()
}

/// The output without parts that differ from run to run.
fn plain(platform: &Platform, told: &str) -> String {
    without_digests(&told.replace(&platform.folder.path().display().to_string(), "FOLDER"))
}

#[test]
fn a_refused_version_leaves_the_running_one_untouched() {
    let platform = Platform::embedded();
    let host = Host::start(&platform, 0);
    let orders = Orders::new(&platform.registry());
    let append = |n: usize| platform.log().append(&[orders.order(n, true)] as &[NewRecord]).unwrap();
    append(0);
    let before = platform.status(0)["digest"].clone();
    let number_as_text = with_account(ledger(), |account| account["fields"][0]["type"] = "string".into());
    let another_field = with_account(ledger(), |account| {
        account["fields"].as_array_mut().unwrap().push(serde_json::json!({"name": "tier", "type": "int"}));
    });
    let refused = [
        ("traps.wasm", starting_with(ledger(), TRAPS)),
        ("loops.wasm", starting_with(ledger(), LOOPS)),
        ("text.wasm", number_as_text),
        ("field.wasm", another_field),
        ("keys.wasm", with_manifest(ledger(), "\"Account\"", "\"Account\"\nkey = \"bytes\"")),
        ("changelog.wasm", with_manifest(ledger(), "\"Account\"", "\"Account\"\nchangelog = \"accounts\"")),
        (
            "topic.wasm",
            with_manifest(ledger(), "[emits.\"orders.status\"]", "[emits.\"orders.status\"]\n[emits.elsewhere]"),
        ),
        ("name.wasm", with_manifest(ledger(), "\"ledger\"", "\"other\"")),
        ("broken.wasm", ledger()[..ledger().len() / 2].to_vec()),
    ];
    let mut told = String::new();
    for (n, (name, wasm)) in refused.iter().enumerate() {
        let file = platform.version(name, wasm);
        told += &format!("{name}: {}\n", plain(&platform, &platform.refused(&["deploy", &file])));
        assert_eq!(platform.status(0)["digest"], before, "{name}");
        append(n + 1);
    }
    insta::assert_snapshot!("refused", told);
    // The log has nothing of these versions, so a restart does not bring them back.
    assert!(platform.ok(&["deployments", "ledger"]).contains("own file"));
    wait_until("all orders are booked", || platform.status(0)["out"] == refused.len() as u64 + 1);
    check_bookings(&bookings(&*platform.log()), refused.len() + 1);
    host.stop();
}

#[test]
fn a_host_with_a_token_accepts_versions_only_with_it() {
    let platform = Platform::embedded().with("HEDDLE_ADMIN_TOKEN", "secret");
    let host = Host::start(&platform, 0);
    let file = platform.version("next.wasm", &numbered(ledger(), 1));
    let ask = |token: &str| platform.command(0, &["deploy", &file]).env("HEDDLE_ADMIN_TOKEN", token).output().unwrap();
    let told = ["", "guessed"].map(|token| {
        let output = ask(token);
        assert!(!output.status.success());
        String::from_utf8(output.stderr).unwrap()
    });
    let address = std::fs::read_to_string(platform.data(0).join("admin-address")).unwrap();
    insta::assert_snapshot!("tokens", told.join("\n").replace(&address, "ADDRESS"));
    // The log offers no way around the refusal.
    let record = NewRecord { topic: "shop.deployments".into(), ..Orders::new(&platform.registry()).order(0, true) };
    let around = platform.log().append(&[record]).unwrap_err().to_string();
    assert!(around.contains("is written by `heddle deploy` and `heddle rollback` alone"), "{around}");
    assert!(ask("secret").status.success());
    host.stop();
}

#[test]
fn a_host_with_a_token_answers_only_requests_with_it() {
    let platform = Platform::embedded().with("HEDDLE_ADMIN_TOKEN", "secret");
    let host = Host::start(&platform, 0);
    // An order without items, which the ledger dead-letters.
    platform.log().append(&[Orders::new(&platform.registry()).order(0, false)]).unwrap();
    wait_until("it is dead-lettered", || platform.ok(&["dlq", "list", "ledger"]).contains("rejected"));
    let contracts = platform.path("contracts");
    std::fs::create_dir_all(&contracts).unwrap();
    std::fs::write(contracts.join("new-value.avsc"), r#""string""#).unwrap();
    let as_other = |arguments: &[&str]| {
        let mut command = platform.command(0, arguments);
        command.env("HEDDLE_ADMIN_TOKEN", "guessed").output().unwrap()
    };
    let commands: [&[&str]; 11] = [
        &["topics", "list"],
        &["schema", "list"],
        &["consume", "orders.created"],
        &["dlq", "list", "ledger"],
        &["status"],
        &["state", "list", "ledger", "accounts"],
        &["topics", "create", "more"],
        &["dlq", "replay", "ledger", "--all-open"],
        &["dlq", "discard", "ledger", "--all-open"],
        &["schema", "register"],
        &["rollback", "ledger"],
    ];
    for command in commands {
        let output = as_other(command);
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success(), "{command:?}");
        assert!(
            told.contains("has not proven to have this app's token") || told.contains("refuses the user (401)"),
            "{command:?}: {told}"
        );
        assert!(told.contains("hint: set HEDDLE_ADMIN_TOKEN to "), "{command:?}: {told}");
    }
    // The same by HTTP.
    let address = std::fs::read_to_string(platform.data(0).join("admin-address")).unwrap();
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let post = |path: &str, body: Value| {
        agent.post(format!("http://{address}{path}")).send_json(body).unwrap().status().as_u16()
    };
    let everything = json!({"all_open": true});
    let record = json!({"topic": "orders.created", "partition": null, "offset": null, "timestamp": null, "key": null, "value": null, "headers": []});
    let refused = [
        post("/dlq/ledger/replay", everything.clone()),
        post("/dlq/ledger/discard", everything),
        post("/call", json!({"Append": {"records": [record]}})),
        post("/call", json!({"Delete": {"topic": "orders.created"}})),
        post("/call", json!({"Create": {"name": "more", "partitions": 1, "options": {}}})),
        post("/call", json!({"Writer": {"id": "shop.deployments"}})),
        post("/registry/subjects/new-value/versions", json!({"schema": "\"string\""})),
        post("/call", json!("Topics")),
    ];
    assert_eq!(refused, [401; 8]);
    let get = |path: &str| agent.get(format!("http://{address}{path}")).call().unwrap().status().as_u16();
    let paths =
        ["/status", "/metrics", "/state/ledger/accounts", "/dlq/ledger", "/deployments/ledger", "/registry/subjects"];
    assert_eq!(paths.map(get), [401; 6]);
    assert_eq!(["/health", "/health/ready"].map(get), [200; 2]);
    assert!(!platform.ok(&["topics", "list"]).contains("more"));
    assert!(platform.ok(&["dlq", "list", "ledger"]).contains("rejected"), "it is still open");
    // Clients with the token are permitted.
    platform.ok(&["schema", "register"]);
    platform.ok(&["topics", "create", "more"]);
    platform.ok(&["dlq", "discard", "ledger", "--all-open"]);
    assert!(!platform.ok(&["dlq", "list", "ledger"]).contains("rejected"));
    host.stop();
}

#[test]
fn a_missing_host_is_reported() {
    let platform = Platform::embedded().with("HEDDLE_ADMIN_LISTEN", "127.0.0.1:1");
    let file = platform.version("next.wasm", &numbered(ledger(), 1));
    let told = [
        platform.refused(&["deploy", &file]),
        platform.refused(&["deploy", "nowhere.wasm"]),
        platform.refused(&["deploy", &file, "--component", "other"]),
        platform.refused(&["rollback", "ledger"]),
    ];
    insta::assert_snapshot!("nobody", plain(&platform, &told.join("\n")));
}
