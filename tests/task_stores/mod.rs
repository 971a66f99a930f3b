//! All state of a task, on both engines: what is committed is read, on disk is what the changelogs say, and nothing is
//! lost by a crash.

/// Makes two tests of each case, one an engine.
macro_rules! on_both_engines {
    ($($case:ident)*) => {
        mod sled {
            $(#[test] fn $case() { super::$case(heddle::state::EngineKind::Sled); })*
        }
        mod fjall {
            $(#[test] fn $case() { super::$case(heddle::state::EngineKind::Fjall); })*
        }
    };
}

mod harness;

mod disk;
mod flusher;
mod killed;
mod late;
mod model;
mod seen;
mod stores;
