//! A client for the HTTP API of the Confluent Schema Registry, which other registries also offer.

use std::collections::BTreeSet;
use std::time::Duration;

use base64::Engine as _;
use heddle_contract::compat::Level;
use heddle_contract::format::avro::Library;
use heddle_contract::section::SchemaFormat;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};
use ureq::tls::{RootCerts, TlsConfig};

use super::format::{self, Entry, Named, Reference, Referred};
use super::{Guid, Registered, Registry, RegistryError, SchemaId, Version};
use crate::tls::{self, Distrust, Trusted};

/// The media type of the API.
const MEDIA_TYPE: &str = "application/vnd.schemaregistry.v1+json";
/// The pause before the first retry. It doubles with every retry.
const RETRY_AFTER: Duration = Duration::from_millis(100);
/// The longest pause before a retry.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(2);

/// The most schemas to which a schema refers, directly or indirectly.
const REFERENCES_MAX: usize = 1_000;

/// The name of the requested schema in messages about the schemas that it refers to.
const SELF: &str = "the schema";

/// Options for the connection to a registry.
#[derive(Clone)]
pub struct ClientOptions {
    /// The registry's address. A path in it precedes the API's paths.
    pub url: String,
    /// The user and the password, for basic authentication.
    pub user: Option<(String, String)>,
    /// The longest time that one request may take.
    pub timeout: Duration,
    /// The number of retries if the registry does not answer or is overloaded.
    pub retries_max: u32,
    /// The authorities that may have signed the registry's certificate, instead of the public ones.
    pub trusted: Option<Trusted>,
    /// The remedy in the message if the registry refuses the user.
    pub refused_user: &'static str,
}

impl Default for ClientOptions {
    /// The defaults of heddle.toml. The address has no default.
    fn default() -> Self {
        Self {
            url: String::new(),
            user: None,
            timeout: Duration::from_secs(5),
            retries_max: 3,
            trusted: None,
            refused_user: "correct [registry] username and password (HEDDLE_REGISTRY_USERNAME, HEDDLE_REGISTRY_PASSWORD)",
        }
    }
}

/// A registry over HTTP.
pub struct Client {
    agent: ureq::Agent,
    options: ClientOptions,
    authorization: Option<String>,
}

/// The method of a request, with its body.
#[derive(Clone, Copy)]
enum Method<'a> {
    Get,
    Post(&'a Value),
    Put(&'a Value),
}

/// An answer of any status.
struct Answer {
    status: u16,
    /// The text of an answer that is not JSON becomes a JSON string.
    body: Value,
    is_json: bool,
}

impl Answer {
    fn error_code(&self) -> Option<u64> {
        self.body["error_code"].as_u64()
    }

    /// Returns true if the registry itself says that the subject, version or schema does not exist. A proxy in front of
    /// the registry may also answer 404, without knowing.
    fn says_missing(&self) -> bool {
        self.status == 404 && matches!(self.error_code(), Some(40401..=40403))
    }

    /// Returns true if no registry gives such an answer. A registry answers in JSON, also what it refuses; a proxy in
    /// front of one that is down may answer with any page.
    fn is_foreign(&self) -> bool {
        !self.is_json && self.status < 500
    }
}

/// The reason why no answer came back.
enum Failed {
    Unreachable(String),
    /// The server is not known to be the registry.
    Untrusted(Distrust),
}

impl Failed {
    fn of(error: &ureq::Error) -> Self {
        tls::fault(error).map_or_else(|| Self::Unreachable(error.to_string()), Self::Untrusted)
    }

    /// Returns true if a retry may succeed.
    fn passes(&self) -> bool {
        matches!(self, Self::Unreachable(_))
    }
}

impl Client {
    /// Creates a client. It sends nothing yet.
    #[must_use]
    pub fn new(mut options: ClientOptions) -> Self {
        options.url = options.url.trim_end_matches('/').to_owned();
        let roots = options.trusted.clone().map_or(RootCerts::WebPki, |trusted| trusted.0);
        let config = ureq::Agent::config_builder()
            .timeout_global(Some(options.timeout))
            // A registry with TLS may not redirect to one without.
            .https_only(options.url.starts_with("https://"))
            .http_status_as_error(false)
            .tls_config(TlsConfig::builder().root_certs(roots).build());
        let basic = |(user, password): &(String, String)| {
            format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}")))
        };
        let authorization = options.user.as_ref().map(basic);
        Self { agent: config.build().into(), authorization, options }
    }

    fn request(&self, path: &str, body: Option<&Value>) -> Result<Answer, RegistryError> {
        self.send(body.map_or(Method::Get, Method::Post), path)
    }

    fn send(&self, method: Method<'_>, path: &str) -> Result<Answer, RegistryError> {
        let mut wait = RETRY_AFTER;
        let mut tries_left = self.options.retries_max;
        loop {
            let result = self.try_once(method, path);
            let again = match &result {
                Ok(answer) => answer.status >= 500 || answer.status == 429,
                Err(failed) => failed.passes(),
            };
            if !again || tries_left == 0 {
                let place = self.options.url.clone();
                return match result {
                    Err(Failed::Untrusted(Distrust { cause, remedy })) => {
                        Err(RegistryError::Untrusted { place, cause, remedy })
                    }
                    Err(Failed::Unreachable(cause)) => Err(RegistryError::Unreachable { place, cause }),
                    Ok(Answer { status: status @ (401 | 403), .. }) => {
                        Err(RegistryError::Unauthorized { place, status, remedy: self.options.refused_user })
                    }
                    Ok(answer) => Ok(answer),
                };
            }
            tries_left -= 1;
            std::thread::sleep(wait);
            wait = (wait * 2).min(RETRY_AFTER_MAX);
        }
    }

    fn try_once(&self, method: Method<'_>, path: &str) -> Result<Answer, Failed> {
        let url = format!("{}{path}", self.options.url);
        let response = match method {
            Method::Get => self.with_headers(self.agent.get(&url)).call(),
            Method::Post(body) => {
                let request = self.with_headers(self.agent.post(&url)).header("Content-Type", MEDIA_TYPE);
                request.send(body.to_string().as_bytes())
            }
            Method::Put(body) => {
                let request = self.with_headers(self.agent.put(&url)).header("Content-Type", MEDIA_TYPE);
                request.send(body.to_string().as_bytes())
            }
        };
        let mut response = response.map_err(|e| Failed::of(&e))?;
        let status = response.status().as_u16();
        let text = response.body_mut().read_to_string().map_err(|e| Failed::of(&e))?;
        let body = serde_json::from_str(&text);
        Ok(Answer { status, is_json: body.is_ok(), body: body.unwrap_or(Value::String(text)) })
    }

    fn with_headers<B>(&self, request: ureq::RequestBuilder<B>) -> ureq::RequestBuilder<B> {
        let request = request.header("Accept", MEDIA_TYPE);
        match &self.authorization {
            None => request,
            Some(authorization) => request.header("Authorization", authorization),
        }
    }

    fn broken(&self, message: String) -> RegistryError {
        RegistryError::Answered { place: self.options.url.clone(), status: 200, message }
    }

    /// Returns the schemas to which the schema of an answer refers, directly or indirectly, the outermost last. Other
    /// writers register those under separate subjects.
    fn referred(&self, body: &Value) -> Result<Vec<Referred>, RegistryError> {
        let mut todo = references(body);
        let (mut seen, mut found) = (BTreeSet::new(), vec![]);
        while let Some(Reference { name, subject, version }) = todo.pop() {
            if !seen.insert((name.clone(), subject.clone(), version)) {
                continue;
            }
            if seen.len() > REFERENCES_MAX {
                return Err(self.broken(format!("a schema refers to more than {REFERENCES_MAX} others")));
            }
            // Records may still be encoded with a schema that was deleted since.
            let path = format!("/subjects/{}/versions/{version}?deleted=true", encoded(&subject));
            let answer = self.request(&path, None)?;
            let (200, Some(referred)) = (answer.status, answer.body["schema"].as_str()) else {
                return Err(self.broken(format!(
                    "a schema refers to version {version} of `{subject}`: {}",
                    message(&answer.body)
                )));
            };
            found.push(Referred { name, text: referred.to_owned() });
            todo.extend(references(&answer.body));
        }
        found.reverse();
        Ok(found)
    }

    /// Returns the format of an answer's schema, its text, and its references. An Avro schema's text includes the
    /// schemas to which it refers.
    fn schema(&self, text: &str, body: &Value) -> Result<(SchemaFormat, String, Vec<Referred>), RegistryError> {
        let format = match body["schemaType"].as_str() {
            None => SchemaFormat::Avro,
            Some(name) => {
                name.parse::<Named>().map_err(|_| self.broken(format!("a schema of the unknown type {name}")))?.0
            }
        };
        let referred = self.referred(body)?;
        if format != SchemaFormat::Avro || referred.is_empty() {
            return Ok((format, text.to_owned(), referred));
        }
        let mut library = Library::default();
        for (place, schema) in referred.iter().enumerate() {
            library.add(&format!("{} ({place})", schema.name), &schema.text).map_err(|e| self.broken(e.to_string()))?;
        }
        let schema = library.add(SELF, text).and_then(|()| library.schema_of_writer(SELF));
        Ok((format, schema.map_err(|e| self.broken(e.to_string()))?.json().to_owned(), vec![]))
    }

    fn version(&self, subject: &str, version: &str) -> Result<Option<Version>, RegistryError> {
        let answer = self.request(&format!("/subjects/{}/versions/{version}", encoded(subject)), None)?;
        if answer.says_missing() {
            return Ok(None);
        }
        let number = answer.body["version"].as_u64().and_then(|version| u32::try_from(version).ok());
        match (answer.status, number, id(&answer.body), answer.body["schema"].as_str()) {
            (200, Some(version), Some(id), Some(schema)) => {
                let (format, schema, referred) = self.schema(schema, &answer.body)?;
                Ok(Some(Version { version, id, format, schema, referred }))
            }
            _ => Err(self.unexpected(&answer)),
        }
    }

    fn registered(&self, answer: &Answer) -> Result<Option<Registered>, RegistryError> {
        match (answer.status, answer.body["schema"].as_str()) {
            (200, Some(schema)) => {
                let (format, text, referred) = self.schema(schema, &answer.body)?;
                let guid = answer.body["guid"].as_str().and_then(|guid| guid.parse().ok());
                let registered = Registered::parse(format, text, references(&answer.body), &referred);
                Ok(Some(Registered { guid, ..registered }))
            }
            // Some registries refuse an id beyond their range as invalid.
            (400 | 422, _) if answer.error_code().is_some() => Ok(None),
            _ if answer.says_missing() => Ok(None),
            _ => Err(self.unexpected(answer)),
        }
    }

    fn unexpected(&self, answer: &Answer) -> RegistryError {
        if answer.is_foreign() {
            return self.foreign(answer);
        }
        RegistryError::Answered {
            place: self.options.url.clone(),
            status: answer.status,
            message: message(&answer.body),
        }
    }

    fn foreign(&self, answer: &Answer) -> RegistryError {
        RegistryError::Foreign {
            place: self.options.url.clone(),
            status: answer.status,
            message: message(&answer.body),
        }
    }
}

/// The references in an answer: names, subjects and versions.
fn references(body: &Value) -> Vec<Reference> {
    let listed = body["references"].as_array().map(Vec::as_slice).unwrap_or_default();
    let reference = |r: &Value| {
        let subject = r["subject"].as_str()?.to_owned();
        let version = r["version"].as_u64().and_then(|version| u32::try_from(version).ok())?;
        Some(Reference { name: r["name"].as_str().unwrap_or(&subject).to_owned(), subject, version })
    };
    listed.iter().filter_map(reference).collect()
}

/// A schema in the form of requests.
fn entry_body(entry: &Entry) -> Value {
    let mut body = json!({ "schema": entry.text });
    if entry.format != SchemaFormat::Avro {
        body["schemaType"] = json!(format::name(entry.format));
    }
    if !entry.references.is_empty() {
        body["references"] = json!(entry.references);
    }
    body
}

fn message(body: &Value) -> String {
    let said = body["message"].as_str().or(body.as_str()).map_or_else(|| body.to_string(), str::to_owned);
    let line = said.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty());
    line.collect::<Vec<_>>().join(" ").chars().take(300).collect()
}

fn id(body: &Value) -> Option<SchemaId> {
    body["id"].as_u64().and_then(|id| u32::try_from(id).ok()).map(SchemaId)
}

impl Registry for Client {
    fn by_id(&self, id: SchemaId) -> Result<Option<Registered>, RegistryError> {
        self.registered(&self.request(&format!("/schemas/ids/{}", id.0), None)?)
    }

    fn by_guid(&self, guid: Guid) -> Result<Option<Registered>, RegistryError> {
        self.registered(&self.request(&format!("/schemas/guids/{guid}"), None)?)
    }

    fn latest(&self, subject: &str) -> Result<Option<Version>, RegistryError> {
        self.version(subject, "latest")
    }

    fn lookup(&self, subject: &str, entry: &Entry) -> Result<Option<SchemaId>, RegistryError> {
        let answer = self.request(&format!("/subjects/{}", encoded(subject)), Some(&entry_body(entry)))?;
        match (answer.status, id(&answer.body)) {
            (200, Some(id)) => Ok(Some(id)),
            _ if answer.says_missing() => Ok(None),
            (409 | 422, _) => {
                Err(RegistryError::Refused { subject: subject.to_owned(), message: message(&answer.body) })
            }
            _ => Err(self.unexpected(&answer)),
        }
    }

    fn register_entry(&self, subject: &str, entry: &Entry) -> Result<SchemaId, RegistryError> {
        if let Some(id) = self.lookup(subject, entry)? {
            return Ok(id);
        }
        let path = format!("/subjects/{}/versions", encoded(subject));
        let answer = self.request(&path, Some(&entry_body(entry))).map_err(|error| match error {
            RegistryError::Unauthorized { place, status: 403, .. } => {
                RegistryError::MayNotRegister { place, subject: subject.to_owned() }
            }
            other => other,
        })?;
        match (answer.status, id(&answer.body)) {
            (200, Some(id)) => Ok(id),
            (409 | 422, _) => {
                Err(RegistryError::Refused { subject: subject.to_owned(), message: message(&answer.body) })
            }
            _ => Err(self.unexpected(&answer)),
        }
    }

    fn ping(&self) -> Result<(), RegistryError> {
        match self.request("/config", None) {
            Ok(answer) if answer.status >= 500 => Err(self.unexpected(&answer)),
            Ok(answer) if answer.body["compatibilityLevel"].is_string() => Ok(()),
            // Kafka's other services refuse unknown paths as a registry does, with the code 404.
            Ok(answer) if answer.error_code().is_some_and(|code| code != 404) => Ok(()),
            // Another service, a proxy or a login page.
            Ok(answer) => Err(self.foreign(&answer)),
            // A registry that refuses this request still answers others.
            Err(RegistryError::Unauthorized { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn subjects(&self) -> Result<Vec<String>, RegistryError> {
        let answer = self.request("/subjects", None)?;
        let names = |list: &Vec<Value>| list.iter().map(|name| name.as_str().map(str::to_owned)).collect();
        match (answer.status, answer.body.as_array().and_then(names)) {
            (200, Some(subjects)) => Ok(subjects),
            _ => Err(self.unexpected(&answer)),
        }
    }

    fn versions(&self, subject: &str) -> Result<Vec<Version>, RegistryError> {
        let answer = self.request(&format!("/subjects/{}/versions", encoded(subject)), None)?;
        let numbers = |list: &Vec<Value>| list.iter().map(Value::as_u64).collect::<Option<Vec<_>>>();
        let mut numbers = match (answer.status, answer.body.as_array().and_then(numbers)) {
            _ if answer.says_missing() => return Ok(vec![]),
            (200, Some(numbers)) => numbers,
            _ => return Err(self.unexpected(&answer)),
        };
        numbers.sort_unstable();
        // A version may have been deleted meanwhile.
        numbers.iter().filter_map(|number| self.version(subject, &number.to_string()).transpose()).collect()
    }

    fn level(&self, subject: &str) -> Result<Level, RegistryError> {
        let path = format!("/config/{}?defaultToGlobal=true", encoded(subject));
        let mut answer = self.request(&path, None)?;
        // Not every registry knows `defaultToGlobal`.
        if answer.status == 404 {
            answer = self.request("/config", None)?;
        }
        let level = answer.body["compatibilityLevel"].as_str().and_then(|text| text.parse().ok());
        match (answer.status, level) {
            (200, Some(level)) => Ok(level),
            _ => Err(self.unexpected(&answer)),
        }
    }

    fn set_level(&self, subject: Option<&str>, level: Level) -> Result<(), RegistryError> {
        let path = subject.map_or_else(|| "/config".to_owned(), |subject| format!("/config/{}", encoded(subject)));
        let answer = self.send(Method::Put(&json!({ "compatibility": level.as_str() })), &path)?;
        if answer.status == 200 { Ok(()) } else { Err(self.unexpected(&answer)) }
    }

    fn place(&self) -> String {
        self.options.url.clone()
    }
}

fn encoded(subject: &str) -> String {
    utf8_percent_encode(subject, NON_ALPHANUMERIC).to_string()
}
