//! A parsed request: its method, the parts of its path, its query and its JSON.

use std::collections::BTreeMap;

use axum::http::Method;
use heddle_contract::section::SchemaFormat;
use percent_encoding::percent_decode_str;
use serde_json::Value;

use crate::registry::format::{self, Entry, Named, Reference};
use crate::registry::refusal::Refusal;
use crate::registry::state::{Asked, Given, State};

/// A client's request.
pub(super) struct Request {
    pub(super) method: &'static str,
    pub(super) path: Vec<String>,
    query: BTreeMap<String, String>,
    body: Option<Value>,
}

fn decoded(text: &str) -> Result<String, Refusal> {
    let plain = percent_decode_str(text).decode_utf8();
    plain.map(|text| text.into_owned()).map_err(|_| Refusal::new(400, "The path or the query is not UTF-8"))
}

impl Request {
    pub(super) fn read(method: &Method, path: &str, query: &str, body: &[u8]) -> Result<Self, Refusal> {
        let method = match *method {
            Method::GET | Method::HEAD => "GET",
            Method::POST => "POST",
            Method::PUT => "PUT",
            Method::DELETE => "DELETE",
            _ => return Err(Refusal::new(405, "HTTP 405 Method Not Allowed")),
        };
        // Split before decoding, because an encoded slash is part of a subject's name.
        let parts = path.trim_matches('/').split('/').filter(|part| !part.is_empty());
        let path = parts.map(decoded).collect::<Result<Vec<_>, _>>()?;
        let pairs = query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            Ok((decoded(&key.replace('+', " "))?, decoded(&value.replace('+', " "))?))
        });
        let query = pairs.collect::<Result<BTreeMap<_, _>, Refusal>>()?;
        let body = match body {
            [] => None,
            bytes => Some(
                serde_json::from_slice(bytes)
                    .map_err(|error| Refusal::new(400, format!("The body of the request is not JSON: {error}")))?,
            ),
        };
        Ok(Self { method, path, query, body })
    }

    /// The parts of the path.
    pub(super) fn parts(&self) -> Vec<&str> {
        self.path.iter().map(String::as_str).collect()
    }

    /// Returns true if the parameter is `true`, in any case, because clients write `true`, `True` and the like.
    pub(super) fn flag(&self, key: &str) -> bool {
        self.query.get(key).is_some_and(|value| value.eq_ignore_ascii_case("true"))
    }

    pub(super) fn text(&self, key: &str) -> Option<&str> {
        self.query.get(key).map(String::as_str).filter(|text| !text.is_empty())
    }

    /// The requested page of a list: at most `limit` items after `offset`. A negative limit means no limit.
    pub(super) fn page<T>(&self, all: impl IntoIterator<Item = T>) -> Result<Vec<T>, Refusal> {
        let number = |key: &str| -> Result<Option<usize>, Refusal> {
            let Some(text) = self.text(key) else { return Ok(None) };
            let number = text.parse::<i64>().map_err(|_| Refusal::new(400, format!("`{key}` is not a number")))?;
            Ok(usize::try_from(number).ok())
        };
        let (offset, limit) = (number("offset")?.unwrap_or(0), number("limit")?.unwrap_or(usize::MAX));
        Ok(all.into_iter().skip(offset).take(limit).collect())
    }

    /// A field of the body.
    pub(super) fn field(&self, key: &str) -> Option<&Value> {
        self.body.as_ref()?.get(key).filter(|value| !value.is_null())
    }

    /// The id and the version in the body.
    pub(super) fn given(&self) -> Given {
        let number = |key: &str| {
            let number = self.field(key)?.as_i64()?;
            u32::try_from(number).ok().filter(|number| *number > 0)
        };
        Given { id: number("id"), version: number("version") }
    }

    /// The schema in the body.
    pub(super) fn entry(&self, state: &State) -> Result<Entry, Refusal> {
        let Some(text) = self.field("schema").and_then(Value::as_str).filter(|text| !text.trim().is_empty()) else {
            return Err(Refusal::new(42201, "Empty schema"));
        };
        let format = match self.field("schemaType").and_then(Value::as_str) {
            None => SchemaFormat::Avro,
            Some(text) => {
                let unknown = |_| Refusal::new(42201, format!("Invalid schema type {text}"));
                text.parse::<Named>().map_err(unknown)?.0
            }
        };
        let references = match self.field("references") {
            None => vec![],
            Some(Value::Array(list)) => list.iter().map(|r| reference(state, r)).collect::<Result<_, Refusal>>()?,
            Some(_) => return Err(Refusal::new(422, "`references` is not a list")),
        };
        let text = format::canonical(format, text, self.flag("normalize")).map_err(Refusal::invalid_schema)?;
        let (metadata, rule_set) = (self.field("metadata").cloned(), self.field("ruleSet").cloned());
        Ok(Entry { format, text, references, metadata, rule_set })
    }
}

fn reference(state: &State, json: &Value) -> Result<Reference, Refusal> {
    let text = |key: &str| {
        let text = json.get(key).and_then(Value::as_str);
        text.map(str::to_owned).ok_or_else(|| Refusal::new(422, format!("a reference without `{key}`")))
    };
    let (name, subject) = (text("name")?, text("subject")?);
    let version = match json.get("version").and_then(Value::as_i64) {
        None | Some(-1) => state.version(&subject, Asked::Latest, false).map_or(0, |found| found.version),
        Some(number) => u32::try_from(number).unwrap_or(0),
    };
    Ok(Reference { name, subject, version })
}

/// Parses a version in a path: a number from 1, `latest` or -1.
pub(super) fn asked(text: &str) -> Result<Asked, Refusal> {
    match text {
        "latest" | "-1" => Ok(Asked::Latest),
        _ => {
            let number = text.parse::<i32>().ok().filter(|number| *number > 0);
            let number = number.and_then(|number| u32::try_from(number).ok());
            number.map(Asked::Number).ok_or_else(|| Refusal::invalid_version(text))
        }
    }
}
