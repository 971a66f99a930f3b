//! Dead letters through a running host: the commands and the admin API.

use std::process::Stdio;
use std::time::{Duration, Instant};

use heddle_fixtures::Ended;
use serde_json::{Value, json};

use crate::dlq::kinds::{encoder, input};
use crate::support::app::App;

#[test]
fn letters_are_reached_through_a_running_host() {
    let app = App::embedded().scripted();
    app.build();
    app.ok(&["topics", "create", "in"]);
    app.ok(&["topics", "create", "out"]);
    let encode = encoder(&app);
    let reject = |n: i32| {
        input(&format!("k{n}"), Some(encode(&json!({"do": "emit-then-reject", "times": n, "everything": null}))))
    };
    app.log().append(&[reject(1), reject(2), reject(3)]).unwrap();
    let host = Ended(app.command(&["run"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    let open = || app.run(&["dlq", "list", "scripted", "--json"]);
    let wait = |what: &str, is_so: &dyn Fn() -> bool| {
        let deadline = Instant::now() + Duration::from_secs(180);
        while !is_so() {
            assert!(Instant::now() < deadline, "waited in vain until {what}");
            std::thread::sleep(Duration::from_millis(50));
        }
    };
    let lines = || String::from_utf8(open().stdout).unwrap();
    // `dlq` takes the log itself unless a host owns it.
    let address = app.data.path().join("admin-address");
    wait("the host listens", &|| address.exists());
    wait("three are dead-lettered", &|| lines().lines().count() == 3);
    // The replayed records fail again.
    app.ok(&["dlq", "replay", "scripted", "--all-open"]);
    wait("they are back", &|| lines().matches(r#""replays":1"#).count() == 3);

    let address = std::fs::read_to_string(&address).unwrap();
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let get = |path: &str| {
        let mut response = agent.get(format!("http://{address}/dlq/{path}")).call().unwrap();
        (response.status().as_u16(), response.body_mut().read_to_string().unwrap())
    };
    let post = |path: &str, body: Value| {
        let mut response = agent.post(format!("http://{address}/dlq/{path}")).send_json(body).unwrap();
        (response.status().as_u16(), response.body_mut().read_to_string().unwrap())
    };
    let (status, text) = get("scripted?kind=rejected");
    let found: Vec<Value> = serde_json::from_str(&text).unwrap();
    assert_eq!((status, found.len()), (200, 3));
    assert_eq!(get("scripted?all=true&kind=trap"), (200, "[]".into()));
    assert_eq!(serde_json::from_str::<Vec<Value>>(&get("scripted?all=true").1).unwrap().len(), 6);
    let place = found[0]["place"].as_str().unwrap();
    let (status, text) = get(&format!("scripted/{place}"));
    let shown: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((status, &shown["value"]["do"], &shown["replays"]), (200, &"emit-then-reject".into(), &1.into()));
    assert_eq!(post("scripted/discard", json!({"places": [place]})), (200, r#"{"done":1}"#.into()));
    assert_eq!(
        post("guests.scripted/replay", json!({"kind": "rejected", "schema": found[0]["schema_id"], "since": "1h"})),
        (200, r#"{"done":2}"#.into())
    );
    wait("they are back again", &|| lines().matches(r#""replays":2"#).count() == 2);
    let refused = [
        get("scripts"),
        get("scripted/0/77"),
        get("scripted?since=yesterday"),
        post("scripted/replay", json!({})),
        post("scripted/discard", json!({"places": [place]})),
        post("scripted/discard", json!({"places": ["77"]})),
    ];
    let refused = refused.map(|(status, text)| format!("{status} {text}")).join("\n");
    insta::assert_snapshot!("refused_by_the_host", refused);
    drop(host);
}
