//! Health checks of a host that cannot begin yet: it lives, and it is not ready.

use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use axum::Router;
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse as _;
use axum::routing::get;
use tokio::sync::oneshot;

use super::health::answer;
use super::{AdminError, Listening, refused};
use crate::lock::lock;
use crate::serve::{HEALTH, Site};

/// Answers health checks until it is dropped.
pub struct Waiting {
    why: Arc<Mutex<String>>,
    end: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Listening {
    /// Answers health checks, and nothing else, while the host waits for something.
    ///
    /// # Errors
    /// If no thread can be started.
    pub fn wait(&self, why: String) -> Result<Waiting, AdminError> {
        let why = Arc::new(Mutex::new(why));
        let listener = self.listener.try_clone().map_err(AdminError::Start)?;
        let told = why.clone();
        let live = async |headers: HeaderMap| answer(&headers, vec![]);
        let ready = move |headers: HeaderMap| async move { answer(&headers, vec![lock(&told).clone()]) };
        let routes = Router::new()
            .route(HEALTH, get(live))
            .route("/health/live", get(live))
            .route("/health/started", get(ready.clone()))
            .route("/health/ready", get(ready));
        let (tls, names, patience) = (self.access.identity.clone(), self.access.names.clone(), self.patience);
        let refuse = |status: StatusCode, told: &str| (status, refused(status, told)).into_response();
        let site = Site { routes, patience, tls, names, refuse };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(AdminError::Start)?;
        let (end, ends) = oneshot::channel::<()>();
        let serve = move || {
            let until = async {
                // Dropped, it is the end, too.
                let _ = ends.await;
            };
            if let Err(error) = runtime.block_on(crate::serve::serve(listener, site, until)) {
                tracing::error!(%error, "health checks are not answered");
            }
        };
        let thread = std::thread::Builder::new().name("health".to_owned()).spawn(serve).map_err(AdminError::Start)?;
        Ok(Waiting { why, end: Some(end), thread: Some(thread) })
    }
}

impl Waiting {
    /// Records the cause for which the host waits.
    pub fn tell(&self, why: String) {
        *lock(&self.why) = why;
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        drop(self.end.take());
        // It has nothing to say; a panic in it was printed.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}
