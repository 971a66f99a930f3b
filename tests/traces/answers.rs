//! Answers that no collector gives: what they concern was not exported.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Redirect, Response};
use axum::routing::any;

use super::{NAME, append, handled, metric, traced};
use crate::failures::host::{Host, Scripts, told, until};
use crate::support::server::serve;

/// The next answers of a server.
#[derive(Clone, Copy, Debug)]
enum Answer {
    Page,
    Redirect,
    Failure,
    Large,
    Json,
}

fn answered(answer: Answer) -> Response {
    let page = "<!DOCTYPE html><html><title>Log in</title></html>";
    match answer {
        Answer::Page => page.into_response(),
        Answer::Redirect => Redirect::to("/login").into_response(),
        Answer::Failure => (StatusCode::INTERNAL_SERVER_ERROR, page).into_response(),
        Answer::Large => vec![0; 64 << 20].into_response(),
        Answer::Json => "{\"partialSuccess\":{}}".into_response(),
    }
}

#[test]
fn spans_that_no_collector_took_do_not_count_as_exported() {
    let next = Arc::new(Mutex::new(Answer::Page));
    let answer = next.clone();
    let address = serve(Router::new().fallback(any(move || async move { answered(*answer.lock().unwrap()) })));
    let app = traced(&address, "spans = \"deliveries\"");
    let scripts = Scripts::of(&app);
    let host = Host::start_with(&app, &[("OTEL_BSP_SCHEDULE_DELAY", "20")]);
    let refused = || metric(&app, "heddle_spans_dropped_total{reason=\"refused\"}");
    let exported = || metric(&app, "heddle_spans_exported_total");
    for (sent, answer) in [Answer::Page, Answer::Redirect, Answer::Failure, Answer::Large].into_iter().enumerate() {
        *next.lock().unwrap() = answer;
        let before = refused();
        append(&app, &[scripts.record(0, "k", "count", 0)]);
        handled(&app, NAME, sent as u64 + 1);
        until(&format!("the spans are dropped after {answer:?}"), || refused() > before);
        assert!(exported() < 1.0, "{answer:?}");
    }
    let log = told(&app);
    assert!(log.contains("what answered 200 is not a collector of OTLP over HTTP"), "{log}");
    assert!(log.contains(&format!("collector={address}/v1/traces")), "{log}");
    // Collectors that answer in JSON are collectors.
    *next.lock().unwrap() = Answer::Json;
    append(&app, &[scripts.record(0, "k", "count", 0)]);
    until("spans are exported", || exported() > 0.0);
    host.stop();
}
