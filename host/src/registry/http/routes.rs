//! The answer for each path.

use heddle_contract::compat::Level;
use heddle_contract::section::SchemaFormat;
use serde_json::{Map, Value, json};

use super::request::{Request, asked};
use crate::registry::Embedded;
use crate::registry::format::{self, Entry};
use crate::registry::refusal::Refusal;
use crate::registry::state::{Asked, Found, GLOBAL, Mode, State};

type Answer = Result<Value, Refusal>;

/// Answers a request.
pub(super) fn answer(registry: &Embedded, request: &Request) -> Answer {
    match request.parts().as_slice() {
        [] if request.method == "GET" => Ok(json!({})),
        ["schemas", rest @ ..] => schemas(registry, request, rest),
        ["subjects", rest @ ..] => subjects(registry, request, rest),
        ["config", rest @ ..] => config(registry, request, rest),
        ["mode", rest @ ..] => mode(registry, request, rest),
        ["compatibility", "subjects", subject, "versions", rest @ ..] => {
            compatibility(registry, request, subject, rest)
        }
        ["contexts"] if request.method == "GET" => Ok(json!(["."])),
        ["v1", "metadata", "id"] if request.method == "GET" => {
            Ok(json!({"id": "", "scope": {"path": [], "clusters": {}}}))
        }
        ["v1", "metadata", "version"] if request.method == "GET" => {
            Ok(json!({"version": env!("CARGO_PKG_VERSION"), "commitId": ""}))
        }
        _ => not_found(),
    }
}

fn not_found() -> Answer {
    Err(Refusal::new(404, "HTTP 404 Not Found"))
}

/// The answer for a known path with an unsupported method.
fn not_allowed() -> Answer {
    Err(Refusal::new(405, "HTTP 405 Method Not Allowed"))
}

fn schemas(registry: &Embedded, request: &Request, path: &[&str]) -> Answer {
    if request.method != "GET" {
        return if matches!(path, [] | ["types"] | ["ids" | "guids", ..]) { not_allowed() } else { not_found() };
    }
    let state = match path {
        ["types"] => return Ok(json!(["JSON", "PROTOBUF", "AVRO"])),
        ["ids", text, ..] => registry.knowing(text.parse().unwrap_or(0))?,
        ["guids", text, rest @ ..] => return by_guid(registry, request, text, rest),
        _ => registry.fresh()?,
    };
    let deleted = request.flag("deleted");
    let id = |text: &str| text.parse::<u32>().map_err(|_| Refusal::new(404, "HTTP 404 Not Found"));
    let of = |text: &str| {
        let id = id(text)?;
        state.schema(id).ok_or_else(|| Refusal::no_schema_id(id))
    };
    match path {
        [] => all_schemas(&state, request),
        ["ids", text] => {
            let mut answer = entry_json(&state, id(text)?, of(text)?, request)?;
            if request.flag("fetchMaxId") {
                answer.insert("maxId".to_owned(), json!(state.last_id()));
            }
            Ok(answer.into())
        }
        ["ids", text, "schema"] => raw(of(text)?),
        ["ids", text, "subjects"] => {
            let mut subjects =
                state.uses(id(text)?, deleted)?.into_iter().map(|(subject, _)| subject).collect::<Vec<_>>();
            subjects.dedup();
            Ok(json!(request.page(subjects)?))
        }
        ["ids", text, "versions"] => {
            let uses = state.uses(id(text)?, deleted)?.into_iter();
            let uses = uses.filter(|(subject, _)| request.text("subject").is_none_or(|asked| asked == *subject));
            Ok(request.page(uses.map(|(subject, version)| json!({"subject": subject, "version": version})))?.into())
        }
        _ => not_found(),
    }
}

/// The schema of a GUID, or its id in the only context of this registry.
fn by_guid(registry: &Embedded, request: &Request, text: &str, path: &[&str]) -> Answer {
    let none = || Refusal::no_guid(text);
    let guid = text.parse().map_err(|_| none())?;
    let state = registry.knowing_guid(guid)?;
    let id = state.id_of(guid).ok_or_else(none)?;
    let entry = state.schema(id).ok_or_else(none)?;
    match path {
        [] => Ok(entry_json(&state, id, entry, request)?.into()),
        ["ids"] => Ok(json!([{"context": ".", "id": id}])),
        _ => not_found(),
    }
}

fn all_schemas(state: &State, request: &Request) -> Answer {
    let prefix = request.text("subjectPrefix").unwrap_or_default();
    let deleted = request.flag("deleted");
    let mut all = vec![];
    for subject in state.subjects(deleted).filter(|subject| subject.starts_with(prefix)) {
        let mut versions = state.versions(subject, deleted);
        if request.flag("latestOnly") {
            versions.drain(..versions.len().saturating_sub(1));
        }
        all.extend(versions);
    }
    let page = request.page(all)?;
    page.iter().map(|found| found_json(state, found, request)).collect::<Result<Vec<_>, _>>().map(Value::from)
}

fn subjects(registry: &Embedded, request: &Request, path: &[&str]) -> Answer {
    let (deleted, permanent) = (request.flag("deleted"), request.flag("permanent"));
    match (request.method, path) {
        ("GET", []) => {
            let state = registry.fresh()?;
            let prefix = request.text("subjectPrefix").unwrap_or_default();
            let only = request.flag("deletedOnly");
            let gone = |subject: &str| state.versions(subject, false).is_empty();
            let shown = |subject: &&str| subject.starts_with(prefix) && (!only || gone(subject));
            Ok(json!(request.page(state.subjects(deleted || only).filter(shown))?))
        }
        ("POST", [subject]) => {
            let state = registry.fresh()?;
            let entry = request.entry(&state)?;
            let found = match state.lookup(subject, &entry, deleted) {
                Err(refusal) if refusal.code == 40403 && request.flag("normalize") => {
                    same_when_normal(&state, subject, &entry, deleted).ok_or(refusal)?
                }
                found => found?,
            };
            found_json(&state, &found, request)
        }
        ("DELETE", [subject]) => Ok(json!(registry.change(|state| state.delete_subject(subject, permanent))?)),
        ("GET", [subject, "versions"]) => {
            let state = registry.fresh()?;
            versions(&state, request, subject)
        }
        ("POST", [subject, "versions"]) => {
            let (id, _) = registry.change(|state| state.register(subject, request.entry(state)?, request.given()))?;
            let guid = registry.knowing(id)?.schema(id).map(|entry| format::guid(entry).to_string());
            Ok(json!({"id": id, "guid": guid}))
        }
        ("GET", [subject, "versions", version]) => {
            let state = registry.fresh()?;
            found_json(&state, &state.version(subject, asked(version)?, deleted)?, request)
        }
        ("DELETE", [subject, "versions", version]) => {
            let asked = asked(version)?;
            Ok(json!(registry.change(|state| state.delete_version(subject, asked, permanent))?))
        }
        ("GET", [subject, "versions", version, "schema"]) => {
            raw(&registry.fresh()?.version(subject, asked(version)?, deleted)?.entry)
        }
        ("GET", [subject, "versions", version, "referencedby"]) => {
            let state = registry.fresh()?;
            let found = state.version(subject, asked(version)?, true)?;
            let alive = |id: &u32| deleted || state.uses(*id, false).is_ok_and(|uses| !uses.is_empty());
            Ok(json!(request.page(state.referrers(subject, found.version).into_iter().filter(alive))?))
        }
        (_, [] | [_] | [_, "versions"] | [_, "versions", _] | [_, "versions", _, "schema" | "referencedby"]) => {
            not_allowed()
        }
        _ => not_found(),
    }
}

/// The version whose normal form equals the normal form in `entry`, although it was registered in another form.
fn same_when_normal(state: &State, subject: &str, entry: &Entry, deleted: bool) -> Option<Found> {
    let normal = |found: &Found| format::canonical(found.entry.format, &found.entry.text, true).ok();
    let same = |found: &Found| found.entry.format == entry.format && normal(found).as_ref() == Some(&entry.text);
    state.versions(subject, deleted).into_iter().rev().find(same)
}

fn versions(state: &State, request: &Request, subject: &str) -> Answer {
    let (deleted, only) = (request.flag("deleted"), request.flag("deletedOnly"));
    let mut found = state.versions(subject, deleted || only);
    if found.is_empty() {
        return Err(Refusal::no_subject(subject));
    }
    if only {
        let alive = state.versions(subject, false);
        found.retain(|found| alive.iter().all(|other| other.version != found.version));
    }
    Ok(json!(request.page(found.iter().map(|found| found.version))?))
}

fn config(registry: &Embedded, request: &Request, path: &[&str]) -> Answer {
    let (subject, is_global) = match path {
        [] => (GLOBAL, true),
        [subject] => (*subject, false),
        _ => return not_found(),
    };
    let level_json = |level: Level| json!({"compatibilityLevel": level.as_str()});
    match request.method {
        "GET" => {
            let state = registry.fresh()?;
            match state.own_level(subject) {
                Some(level) => Ok(level_json(level)),
                None if is_global || request.flag("defaultToGlobal") => Ok(level_json(state.level(subject))),
                None => Err(Refusal::no_level(subject)),
            }
        }
        "PUT" => {
            let text = request.field("compatibility").and_then(Value::as_str);
            let level = text.and_then(|text| text.parse::<Level>().ok()).ok_or_else(Refusal::invalid_level)?;
            registry.change(|state| Ok(state.set_level(subject, Some(level))))?;
            Ok(json!({"compatibility": level.as_str()}))
        }
        "DELETE" => {
            let was = registry.change(|state| Ok(state.set_level(subject, None)))?;
            match was {
                None if !is_global => Err(Refusal::no_subject(subject)),
                was => Ok(level_json(was.unwrap_or_default())),
            }
        }
        _ => not_allowed(),
    }
}

fn mode(registry: &Embedded, request: &Request, path: &[&str]) -> Answer {
    let (subject, is_global) = match path {
        [] => (GLOBAL, true),
        [subject] => (*subject, false),
        _ => return not_found(),
    };
    let mode_json = |mode: Mode| json!({"mode": mode.as_str()});
    match request.method {
        "GET" => {
            let state = registry.fresh()?;
            match state.own_mode(subject) {
                Some(mode) => Ok(mode_json(mode)),
                None if is_global || request.flag("defaultToGlobal") => Ok(mode_json(state.mode(subject))),
                None => Err(Refusal::no_mode(subject)),
            }
        }
        "PUT" => {
            let text = request.field("mode").and_then(Value::as_str);
            let mode = text.and_then(|text| text.parse::<Mode>().ok()).ok_or_else(Refusal::invalid_mode)?;
            registry.change(|state| state.set_mode(subject, Some(mode), request.flag("force")))?;
            Ok(mode_json(mode))
        }
        "DELETE" => match registry.change(|state| state.set_mode(subject, None, true))? {
            None if !is_global => Err(Refusal::no_subject(subject)),
            was => Ok(mode_json(was.unwrap_or_default())),
        },
        _ => not_allowed(),
    }
}

/// Checks a schema against one version, or against those that the subject's level includes.
fn compatibility(registry: &Embedded, request: &Request, subject: &str, path: &[&str]) -> Answer {
    if request.method != "POST" {
        return not_allowed();
    }
    let state = registry.fresh()?;
    let entry = request.entry(&state)?;
    let against = match path {
        [] => state.versions(subject, false),
        [version] => match (asked(version)?, state.version(subject, asked(version)?, false)) {
            (_, Ok(found)) => vec![found],
            // Without versions there are no violations.
            (Asked::Latest, Err(_)) => vec![],
            (Asked::Number(_), Err(refusal)) => return Err(refusal),
        },
        _ => return not_found(),
    };
    let violations = state.violations(state.level(subject), &entry, &against)?;
    let mut answer = json!({"is_compatible": violations.is_empty()});
    if request.flag("verbose") {
        answer["messages"] = violations.iter().map(ToString::to_string).collect::<Vec<_>>().into();
    }
    Ok(answer)
}

fn found_json(state: &State, found: &Found, request: &Request) -> Answer {
    let mut answer = Map::new();
    answer.insert("subject".to_owned(), json!(found.subject));
    answer.insert("version".to_owned(), json!(found.version));
    answer.insert("id".to_owned(), json!(found.id));
    answer.extend(entry_json(state, found.id, &found.entry, request)?);
    Ok(answer.into())
}

/// A schema in the form of answers: the type is left out for Avro, and absent fields are left out.
fn entry_json(state: &State, id: u32, entry: &Entry, request: &Request) -> Result<Map<String, Value>, Refusal> {
    let mut answer = Map::new();
    answer.insert("guid".to_owned(), json!(format::guid(entry).to_string()));
    if entry.format != SchemaFormat::Avro {
        answer.insert("schemaType".to_owned(), json!(format::name(entry.format)));
    }
    if !entry.references.is_empty() {
        answer.insert("references".to_owned(), json!(entry.references));
    }
    for (key, value) in [("metadata", &entry.metadata), ("ruleSet", &entry.rule_set)] {
        answer.extend(value.clone().map(|value| (key.to_owned(), value)));
    }
    // Only Protobuf has another serialized form.
    let serialized = match request.text("format") {
        Some("serialized") => state.parsed(id)?.serialized(),
        _ => None,
    };
    answer.insert("schema".to_owned(), json!(serialized.unwrap_or_else(|| entry.text.clone())));
    Ok(answer)
}

/// The schema without an envelope.
fn raw(entry: &Entry) -> Answer {
    Ok(serde_json::from_str(&entry.text).unwrap_or_else(|_| json!(entry.text)))
}
