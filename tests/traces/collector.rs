//! A collector of OTLP over HTTP inside the test.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use heddle::telemetry::traces::{ExportRequest, KeyValue, Span, Value};
use prost::Message as _;

use crate::support::server::serve;

/// A span with the attributes of its service.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    pub(crate) span: Span,
    pub(crate) service: BTreeMap<String, String>,
}

/// Everything that the collector got.
#[derive(Clone, Default)]
pub(crate) struct Collector(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    spans: Vec<Received>,
    /// The answers to the next requests, instead of 200.
    refusals: Vec<u16>,
    requests: Vec<HeaderMap>,
}

impl Collector {
    /// Serves a collector. Returns it with its address.
    pub(crate) fn start() -> (Self, String) {
        let collector = Self::default();
        let own = collector.clone();
        let routes =
            Router::new().route("/v1/traces", post(move |headers, body| async move { own.take(headers, body) }));
        (collector, serve(routes))
    }

    fn take(&self, headers: HeaderMap, body: Bytes) -> StatusCode {
        let mut state = self.0.lock().unwrap();
        state.requests.push(headers);
        if let Some(status) = state.refusals.pop() {
            return StatusCode::from_u16(status).unwrap();
        }
        let request = ExportRequest::decode(body).unwrap();
        for of_service in request.resource_spans {
            let attributes = of_service.resource.unwrap().attributes;
            let service = attributes.iter().map(|attribute| (attribute.key.clone(), shown(attribute))).collect();
            let spans = of_service.scope_spans.into_iter().flat_map(|of_scope| {
                assert_eq!(of_scope.scope.unwrap().name, "heddle");
                of_scope.spans
            });
            let received = |span| Received { span, service: BTreeMap::clone(&service) };
            state.spans.extend(spans.map(received));
        }
        StatusCode::OK
    }

    /// Answers the next request with this status.
    pub(crate) fn refuse(&self, status: u16) {
        self.0.lock().unwrap().refusals.push(status);
    }

    /// The headers of all requests.
    pub(crate) fn requests(&self) -> Vec<HeaderMap> {
        self.0.lock().unwrap().requests.clone()
    }

    /// The spans with this name, the oldest first.
    pub(crate) fn named(&self, name: &str) -> Vec<Received> {
        let mut spans = self.all();
        spans.retain(|received| received.span.name == name);
        spans.sort_by_key(|received| received.span.start_time_unix_nano);
        spans
    }

    pub(crate) fn all(&self) -> Vec<Received> {
        self.0.lock().unwrap().spans.clone()
    }
}

fn shown(attribute: &KeyValue) -> String {
    match attribute.value.as_ref().unwrap().value.as_ref().unwrap() {
        Value::Text(text) => text.clone(),
        Value::Bool(value) => value.to_string(),
        Value::Int(value) => value.to_string(),
    }
}

impl Received {
    /// An attribute, as text.
    pub(crate) fn attribute(&self, name: &str) -> Option<String> {
        self.span.attributes.iter().find(|attribute| attribute.key == name).map(shown)
    }

    /// Asserts that the span has these attributes.
    #[track_caller]
    pub(crate) fn has(&self, attributes: &[(&str, &str)]) {
        for (name, value) in attributes {
            assert_eq!(self.attribute(name).as_deref(), Some(*value), "{name} of {self:#?}");
        }
    }
}
