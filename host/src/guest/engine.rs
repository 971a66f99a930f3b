//! The WebAssembly engine. Each process has one, with a clock for deadlines.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use wasmtime::{Cache, CacheConfig, Config};

use super::{LoadError, code_cache};

/// The interval between checks of deadlines. A handler is stopped less than two intervals after its deadline.
pub const TICK: Duration = Duration::from_millis(5);

/// The engine that all components of the process share.
#[derive(Clone)]
pub struct Engine {
    pub(super) wasmtime: wasmtime::Engine,
    _ticker: Arc<Ticker>,
}

/// Ends the ticking thread when the last engine is dropped.
struct Ticker(Arc<AtomicBool>);

impl Drop for Ticker {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The maximum stack of a guest. Threads that call guests have four times as much.
pub(super) const STACK_BYTES_MAX: usize = 512 << 10;

impl Engine {
    /// Starts an engine. Compiled code is kept in `cache`, by the digest of the WebAssembly code and by the compiler's
    /// version and settings. Without a usable cache, the code is compiled at every start.
    ///
    /// # Errors
    /// If the engine refuses its settings, or no thread can be started.
    pub fn start(cache: Option<&Path>) -> Result<Self, LoadError> {
        let failed = |e: wasmtime::Error| LoadError::Engine(format!("{e:#}"));
        let mut config = Config::new();
        config.epoch_interruption(true).wasm_backtrace_max_frames(std::num::NonZeroUsize::new(8));
        config.max_wasm_stack(STACK_BYTES_MAX);
        // Differences between processors or runs must not reach a handler.
        config.cranelift_nan_canonicalization(true).relaxed_simd_deterministic(true);
        if let Some(folder) = cache {
            match open_cache(folder) {
                Ok(cache) => {
                    config.cache(Some(cache));
                }
                Err(why) => tracing::warn!(
                    target: "heddle::alert", folder = %folder.display(), %why,
                    "compiled code is not kept, so starts take longer; name another folder in HEDDLE_CACHE"
                ),
            }
        }
        let wasmtime = wasmtime::Engine::new(&config).map_err(failed)?;
        let stop = Arc::new(AtomicBool::new(false));
        let (engine, stopped) = (wasmtime.clone(), stop.clone());
        thread::Builder::new()
            .name("deadlines".to_owned())
            .spawn(move || {
                while !stopped.load(Ordering::Relaxed) {
                    thread::sleep(TICK);
                    engine.increment_epoch();
                }
            })
            .map_err(|e| LoadError::Engine(e.to_string()))?;
        Ok(Self { wasmtime, _ticker: Arc::new(Ticker(stop)) })
    }
}

fn open_cache(folder: &Path) -> Result<Cache, String> {
    let folder = code_cache::prepare(folder).map_err(|fault| fault.to_string())?;
    let mut cache = CacheConfig::new();
    cache.with_directory(folder);
    Cache::new(cache).map_err(|error| format!("{error:#}"))
}

/// The number of ticks in a deadline, rounded up, plus one for the tick in progress.
pub(super) fn ticks(deadline: Duration) -> u64 {
    u64::try_from(deadline.as_millis().div_ceil(TICK.as_millis())).unwrap_or(u64::MAX / 2) + 1
}
