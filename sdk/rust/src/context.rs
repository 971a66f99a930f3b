//! The current delivery of a handler.

pub use crate::runtime::heddle::runtime::context::Delivery;

/// The current delivery.
#[must_use]
pub fn current() -> Delivery {
    #[cfg(target_family = "wasm")]
    return crate::runtime::heddle::runtime::context::current();
    #[cfg(not(target_family = "wasm"))]
    return crate::testing::current();
}
