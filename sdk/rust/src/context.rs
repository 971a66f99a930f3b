//! The delivery that a handler is called for.

pub use crate::runtime::heddle::runtime::context::Delivery;

/// The delivery under way.
#[must_use]
pub fn current() -> Delivery {
    #[cfg(target_family = "wasm")]
    return crate::runtime::heddle::runtime::context::current();
    #[cfg(not(target_family = "wasm"))]
    return crate::testing::current();
}
