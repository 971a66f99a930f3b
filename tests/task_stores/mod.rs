//! The whole state of a task, on both engines. Committed writes can be read, the disk matches the changelogs, and a
//! crash loses nothing.

/// Makes two tests of each case, one per engine.
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
