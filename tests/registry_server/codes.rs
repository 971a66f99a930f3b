//! The codes of answers, as Confluent documents them.

use serde_json::{Value, json};

use super::{Server, code, record};

/// A subject with a name that has to be escaped, and three schemas for it. The third one is not compatible.
struct Asked<'s> {
    server: &'s Server,
    first: Value,
    second: Value,
    broken: Value,
}

/// The escaped name of the subject.
const SUBJECT: &str = "a%2Fb%20c-value";

fn path(rest: &str) -> String {
    format!("/subjects/{SUBJECT}{rest}")
}

impl Asked<'_> {
    fn lookup(&self, schema: &str, query: &str) -> (u16, Value) {
        self.server.ask("POST", &path(query), Some(&json!({"schema": schema})))
    }
}

#[test]
fn requests_are_answered_with_the_codes_that_confluent_documents() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    let first = record("Order", json!([{"name": "id", "type": "string"}]));
    let second = record("Order", json!([{"name": "id", "type": "string"}, {"name": "n", "type": "int", "default": 0}]));
    let broken = record("Order", json!([{"name": "id", "type": "string"}, {"name": "price", "type": "double"}]));
    let asked = Asked { server: &server, first, second, broken };
    // In this order, because each part leaves the subject as the next one needs it.
    asked.versions();
    asked.lookups();
    asked.levels();
    asked.modes();
    asked.deletes();
    asked.unknown_routes_and_large_requests();
}

impl Asked<'_> {
    fn versions(&self) {
        let server = self.server;
        assert_eq!(server.get("/"), (200, json!({})));
        assert_eq!(code(server.get(&path("/versions"))), (404, 40401));
        assert_eq!(server.register(SUBJECT, &self.first), (200, json!({"id": 1})));
        assert_eq!(server.register(SUBJECT, &self.first), (200, json!({"id": 1})));
        assert_eq!(server.register(SUBJECT, &self.second), (200, json!({"id": 2})));
        let refused = server.register(SUBJECT, &self.broken);
        let message = refused.1["message"].as_str().unwrap().to_owned();
        assert_eq!(code(refused), (409, 409));
        assert!(message.contains("version 2") && message.contains("`price`"), "{message}");
        assert_eq!(server.get("/subjects"), (200, json!(["a/b c-value"])));
        assert_eq!(server.get(&path("/versions")), (200, json!([1, 2])));
        assert_eq!(server.get(&path("/versions?offset=1&limit=5")), (200, json!([2])));
        for latest in ["latest", "-1", "2"] {
            assert_eq!(server.get(&path(&format!("/versions/{latest}"))).1["id"], 2, "{latest}");
        }
        assert_eq!(code(server.get(&path("/versions/3"))), (404, 40402));
        assert_eq!(code(server.get(&path("/versions/0"))), (422, 42202));
        assert_eq!(code(server.get(&path("/versions/newest"))), (422, 42202));
        assert_eq!(code(server.get("/schemas/ids/99")), (404, 40403));
        let guid = server.get("/schemas/ids/1").1["guid"].as_str().unwrap().to_owned();
        assert_eq!(server.get(&format!("/schemas/guids/{guid}")), server.get("/schemas/ids/1"));
        assert_eq!(server.get(&format!("/schemas/guids/{guid}/ids")), (200, json!([{"context": ".", "id": 1}])));
        assert_eq!(server.get(&path("/versions/1")).1["guid"], guid);
        for unknown in ["00000000-0000-0000-0000-000000000000", "x"] {
            assert_eq!(code(server.get(&format!("/schemas/guids/{unknown}"))), (404, 40403), "{unknown}");
        }
        assert_eq!(server.get("/schemas/ids/1/versions"), (200, json!([{"subject": "a/b c-value", "version": 1}])));
        assert_eq!(server.get("/schemas/ids/1/subjects"), (200, json!(["a/b c-value"])));
        assert_eq!(server.get("/schemas/ids/1/schema"), (200, self.first.clone()));
        assert_eq!(server.get("/schemas?subjectPrefix=a/&latestOnly=true").1.as_array().unwrap().len(), 1);
    }

    /// Lookups, also of schemas that are written differently.
    fn lookups(&self) {
        let server = self.server;
        assert_eq!(self.lookup(&self.second.to_string(), "").1["version"], 2);
        assert_eq!(
            self.lookup(r#" { "fields":[ {"type":"string","name":"id"} ],"name":"Order", "type":"record" } "#, "").1["version"],
            1
        );
        assert_eq!(code(self.lookup(&self.broken.to_string(), "")), (404, 40403));
        assert_eq!(code(self.lookup("\"string", "")), (422, 42201));
        let normal = record("n.Other", json!([{"name": "id", "type": {"type": "string"}}]));
        let other =
            json!({"type": "record", "name": "Other", "namespace": "n", "fields": [{"name": "id", "type": "string"}]});
        let register = |schema: &Value| {
            server
                .ask("POST", "/subjects/normal/versions?normalize=true", Some(&json!({"schema": schema.to_string()})))
                .1
        };
        assert_eq!(register(&normal), register(&other));
        assert_eq!(server.register("written", &other).0, 200);
        let lookup_normal = json!({"schema": normal.to_string()});
        // Both texts are the same schema as Avro for Java prints it.
        for query in ["", "?normalize=true"] {
            let found = server.ask("POST", &format!("/subjects/written{query}"), Some(&lookup_normal));
            assert_eq!(found.1["version"], 1, "{query}");
        }
    }

    /// Levels.
    fn levels(&self) {
        let server = self.server;
        assert_eq!(server.get("/config"), (200, json!({"compatibilityLevel": "BACKWARD"})));
        let config = format!("/config/{SUBJECT}");
        assert_eq!(code(server.get(&config)), (404, 40408));
        assert_eq!(server.get(&format!("{config}?defaultToGlobal=True")).1["compatibilityLevel"], "BACKWARD");
        assert_eq!(code(server.ask("PUT", &config, Some(&json!({"compatibility": "SIDEWARD"})))), (422, 42203));
        assert_eq!(
            server.ask("PUT", &config, Some(&json!({"compatibility": "NONE"}))),
            (200, json!({"compatibility": "NONE"}))
        );
        let would = |query: &str| {
            server.ask(
                "POST",
                &format!("/compatibility/subjects/{SUBJECT}/versions{query}"),
                Some(&json!({"schema": self.broken.to_string()})),
            )
        };
        assert_eq!(would("/latest"), (200, json!({"is_compatible": true})));
        assert_eq!(server.ask("DELETE", &config, None), (200, json!({"compatibilityLevel": "NONE"})));
        assert_eq!(would("/latest"), (200, json!({"is_compatible": false})));
        assert!(would("?verbose=true").1["messages"][0].as_str().unwrap().contains("`price`"));
        assert_eq!(code(would("/7")), (404, 40402));
    }

    /// Modes.
    fn modes(&self) {
        let server = self.server;
        assert_eq!(server.get("/mode"), (200, json!({"mode": "READWRITE"})));
        let mode = format!("/mode/{SUBJECT}");
        assert_eq!(code(server.get(&mode)), (404, 40409));
        assert_eq!(code(server.ask("PUT", &mode, Some(&json!({"mode": "SOMEHOW"})))), (422, 42204));
        assert_eq!(code(server.ask("PUT", &mode, Some(&json!({"mode": "IMPORT"})))), (422, 42205));
        assert_eq!(server.ask("PUT", &mode, Some(&json!({"mode": "READONLY"}))).0, 200);
        assert_eq!(code(server.register(SUBJECT, &self.broken)), (422, 42205));
        assert_eq!(code(server.ask("DELETE", &path(""), None)), (422, 42205));
        assert_eq!(server.ask("DELETE", &mode, None).0, 200);
        assert_eq!(server.ask("PUT", "/mode/imported", Some(&json!({"mode": "IMPORT"}))).0, 200);
        let imported = json!({"schema": "\"long\"", "id": 777, "version": 5});
        let (status, answer) = server.ask("POST", "/subjects/imported/versions", Some(&imported));
        assert_eq!((status, &answer["id"]), (200, &json!(777)));
        assert_eq!(server.get("/subjects/imported/versions"), (200, json!([5])));
    }

    /// Deletes.
    fn deletes(&self) {
        let server = self.server;
        assert_eq!(code(server.ask("DELETE", &path("/versions/1?permanent=true"), None)), (404, 40407));
        assert_eq!(server.ask("DELETE", &path("/versions/1"), None), (200, json!(1)));
        assert_eq!(code(server.ask("DELETE", &path("/versions/1"), None)), (404, 40406));
        assert_eq!(server.get(&path("/versions?deleted=true")), (200, json!([1, 2])));
        assert_eq!(server.get(&path("/versions?deletedOnly=true")), (200, json!([1])));
        assert_eq!(server.ask("DELETE", &path("/versions/1?permanent=true"), None), (200, json!(1)));
        assert_eq!(code(server.get("/schemas/ids/1")), (404, 40403));
        assert_eq!(code(server.ask("DELETE", &path("?permanent=true"), None)), (404, 40405));
        assert_eq!(server.ask("DELETE", &path(""), None), (200, json!([2])));
        assert_eq!(code(server.ask("DELETE", &path(""), None)), (404, 40404));
        assert_eq!(server.ask("DELETE", &path("?permanent=true"), None), (200, json!([2])));
        // An id is never assigned again.
        assert_eq!(server.register(SUBJECT, &self.first), (200, json!({"id": 778})));
    }

    /// Unknown routes, and requests that are too large.
    fn unknown_routes_and_large_requests(&self) {
        let server = self.server;
        for unknown in ["/associations/subjects/x", "/schemas/guids", "/nothing"] {
            assert_eq!(code(server.get(unknown)), (404, 404), "{unknown}");
        }
        assert_eq!(code(server.ask("PUT", "/subjects", None)), (405, 405));
        let large = json!({"schema": "x".repeat(2 << 20)});
        assert_eq!(code(server.ask("POST", "/subjects/large/versions", Some(&large))), (413, 413));
        assert_eq!(server.register("-not%00a%20name", &self.first).0, 422);
        let deep = format!("{}\"int\"{}", r#"{"type":"array","items":"#.repeat(500), "}".repeat(500));
        assert_eq!(code(self.lookup(&deep, "")).0, 422);
    }
}
