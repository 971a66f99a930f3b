//! Dead letters for operators.
//!
//! ```text
//!  GET  /dlq/<component>?kind=&schema=&since=&until=&topic=&all=    letters, the oldest failures, in bounded memory
//!  GET  /dlq/<component>/<partition>/<offset>                       one letter, decoded
//!  POST /dlq/<component>/replay, …/discard          {"places": ["0/12"], "kind": …, "all_open": …} -> {"done": 1}
//! ```

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use heddle_contract::wire::Part;
use heddle_core::explain::to_text;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use super::state::blocking;
use super::{Shared, stream, watched};
use crate::dlq::{DlqError, Filter, Place, Queue, Selection, Shown};
use crate::log::LogError;
use crate::values::WithContracts;

/// The maximum number of letters in one answer.
const LETTERS_MAX: usize = 10_000;
/// The approximate maximum size of one answer, in bytes.
const ANSWER_BYTES_MAX: usize = 8 << 20;
/// The header with the number of letters that an answer leaves out.
const LEFT_OUT: &str = "heddle-left-out";

type Refusal = (StatusCode, String);

/// The letters of a replay or a discard.
#[derive(Debug, Deserialize)]
pub(super) struct Which {
    #[serde(default)]
    places: Vec<Place>,
    #[serde(default)]
    all_open: bool,
    #[serde(flatten)]
    filter: Filter,
}

/// The number of letters that were replayed or discarded.
#[derive(Debug, Serialize)]
pub(super) struct Done {
    done: u64,
}

fn refusal(error: &DlqError) -> Refusal {
    let status = match error {
        DlqError::NoTopic { .. } | DlqError::NoLetter { .. } => StatusCode::NOT_FOUND,
        DlqError::Log(LogError::RecordRefused(_) | LogError::Invalid(_)) => StatusCode::BAD_REQUEST,
        DlqError::Log(_) | DlqError::Unknown { .. } => StatusCode::SERVICE_UNAVAILABLE,
        DlqError::Nothing { .. }
        | DlqError::Done { .. }
        | DlqError::NoOrigin { .. }
        | DlqError::OriginalGone { .. }
        | DlqError::TakenOver { .. } => StatusCode::CONFLICT,
    };
    (status, to_text(error))
}

fn queue(shared: &Shared, component: &str) -> Result<Queue, Refusal> {
    let watched = watched(shared, component)?;
    Queue::open(shared.log.clone(), &watched.name, &watched.dead_letter()).map_err(|error| refusal(&error))
}

pub(super) async fn list(
    State(shared): State<Arc<Shared>>,
    Path(component): Path<String>,
    Query(filter): Query<Filter>,
) -> Result<Response, Refusal> {
    // The permit is held until the answer is sent, which bounds the lists in memory.
    let turn = shared.lists.clone().acquire_owned().await;
    let (begun, begins) = oneshot::channel();
    let made = tokio::task::spawn_blocking(move || {
        let _turn = turn;
        let found = queue(&shared, &component)
            .and_then(|queue| queue.oldest(&filter, LETTERS_MAX, ANSWER_BYTES_MAX).map_err(|error| refusal(&error)));
        let (entries, left_out) = match found {
            Ok(found) => found,
            Err(refusal) => return drop(begun.send(Err(refusal))),
        };
        let (body, mut sink) = stream::body();
        let mut taken = begun.send(Ok((body, left_out))).is_ok() && sink.write(b"[");
        for (number, entry) in entries.iter().enumerate() {
            let comma = if number == 0 { "" } else { "," };
            let text = serde_json::to_string(entry).unwrap_or_default();
            taken = taken && sink.write(comma.as_bytes()) && sink.write(text.as_bytes());
        }
        let _whole = taken && sink.write(b"]") && sink.flush();
    });
    drop(made);
    let (body, left_out) = begins.await.map_err(|e| (StatusCode::INTERNAL_SERVER_ERROR, e.to_string()))??;
    let headers = [(header::CONTENT_TYPE.as_str(), "application/json".to_owned()), (LEFT_OUT, left_out.to_string())];
    Ok((headers, body).into_response())
}

pub(super) async fn show(
    State(shared): State<Arc<Shared>>,
    Path((component, partition, offset)): Path<(String, i32, i64)>,
) -> Result<Json<Shown>, Refusal> {
    blocking(move || {
        let place = Place { partition, offset };
        let (letter, mark) = queue(&shared, &component)?.letter(place).map_err(|error| refusal(&error))?;
        let none = || (StatusCode::NOT_FOUND, "this host has no schemas".to_owned());
        let schemas = shared.stores.as_ref().ok_or_else(none)?.schemas.clone();
        let current = watched(&shared, &component)?.slot.current();
        let contract = |part| {
            Some(((letter.origin.topic.to_string(), part), current.component.consumed(&letter.origin.topic, part)?))
        };
        let contracts = [Part::Key, Part::Value].into_iter().filter_map(contract).collect();
        Ok(Json(Shown::new(&letter, mark.as_ref(), &WithContracts::new(schemas, contracts))))
    })
    .await
}

pub(super) async fn replay(
    State(shared): State<Arc<Shared>>,
    Path(component): Path<String>,
    Json(which): Json<Which>,
) -> Result<Json<Done>, Refusal> {
    blocking(move || each(&shared, &component, which, false)).await
}

pub(super) async fn discard(
    State(shared): State<Arc<Shared>>,
    Path(component): Path<String>,
    Json(which): Json<Which>,
) -> Result<Json<Done>, Refusal> {
    blocking(move || each(&shared, &component, which, true)).await
}

fn each(shared: &Shared, component: &str, which: Which, discard: bool) -> Result<Json<Done>, Refusal> {
    if which.places.is_empty() && which.filter.is_empty() && !which.all_open {
        let what = r#"name the letters: "places", a filter, or "all_open": true"#;
        return Err((StatusCode::BAD_REQUEST, what.to_owned()));
    }
    let queue = queue(shared, component)?;
    let selection = Selection { places: which.places.into_iter().collect(), filter: which.filter };
    let done = queue.take().and_then(|mut taken| {
        if discard { taken.discard(&selection, &mut |_| {}) } else { taken.replay(&selection, &mut |_| {}) }
    });
    done.map(|done| Json(Done { done })).map_err(|error| refusal(&error))
}
