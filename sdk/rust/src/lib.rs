//! Write a Heddle component in Rust.
//!
//! A component is a crate of type `cdylib` beside its `component.toml`. `heddle build` writes its `wit` folder from the
//! schemas and compiles it; [`component!`] turns that into types and functions:
//!
//! ```ignore
//! heddle_sdk::component!(Intake);
//!
//! use contracts::{OrderAccepted, OrderCreated};
//!
//! struct Intake;
//!
//! impl on_orders_created::Guest for Intake {
//!     fn handle(order: OrderCreated) -> Result<(), Failure> {
//!         if order.items.is_empty() {
//!             return Err(Failure::rejected("the order has no items"));
//!         }
//!         let customer: u32 = order.customer_id.parse().map_err(Failure::rejected)?;
//!         log::info!("an order of customer {customer}");
//!         emit_orders_accepted::send(&OrderAccepted { order_id: order.order_id });
//!         Ok(())
//!     }
//! }
//! ```
//!
//! In the crate's root there are then:
//!
//! - `contracts`: the types of the schemas.
//! - `on_<topic>::Guest`: the handler of a topic that the manifest consumes; the compiler asks for each of them.
//! - `emit_<topic>::send(&value)`, `emit_<topic>::send_with(&value, key, &headers)`: for each topic that the manifest emits;
//!   `emit_<topic>::delete(key)` emits a tombstone.
//! - [`context`]`::current()`: the delivery: its id, attempt, topic, partition, offset, timestamp, key and headers.
//! - `store_<name>::{get, put, delete, scan}`: for each store of the manifest, typed by its schemas:
//!
//!   ```ignore
//!   let mut stock = store_stock::get(&item.product_id).unwrap_or(StockLevel { available: 0 });
//!   stock.available -= item.quantity;
//!   store_stock::put(&item.product_id, &stock);
//!   for (product_id, stock) in store_stock::scan("", None, 100) { … }
//!   ```
//!
//!   A handler sees what it wrote, and what handlers of the same partition wrote before it. What it writes is kept only if it
//!   succeeds. `scan` takes a prefix, the key to go on after and a limit; keys that have a schema have no `scan`.
//! - [`log`]: lines for the host's log.
//! - [`random`]: numbers that are the same whenever the same record is handled.
//! - [`Failure`] and [`Header`].
//!
//! A handler has no clock and no randomness of its own: the same record on the same state gives the same effects,
//! whenever it is handled again. A panic is a failure, too: its message and place are told in the dead-letter record.
//!
//! `cargo test` runs handlers natively, in a [`testing::TestHost`].

pub mod context;
pub mod log;
pub mod random;
#[cfg(not(target_family = "wasm"))]
pub mod testing;

pub use heddle_sdk_macros::component;
pub use runtime::heddle::runtime::types::{Failure, Header};

#[doc(hidden)]
pub use runtime::heddle::runtime::types;
#[doc(hidden)]
pub use wit_bindgen;

#[allow(missing_docs, unsafe_code, unreachable_pub, clippy::all, clippy::pedantic)]
mod runtime {
    wit_bindgen::generate!({
        path: "../../wit",
        inline: "
            package heddle:sdk;
            world imports {
                import heddle:runtime/types@0.1.0;
                import heddle:runtime/context@0.1.0;
                import heddle:runtime/log@0.1.0;
                import heddle:runtime/random@0.1.0;
            }
        ",
        world: "heddle:sdk/imports",
        additional_derives: [PartialEq, Clone],
        generate_all,
        generate_unused_types: true,
    });
}

impl Failure {
    /// Trying again cannot cure it: the record is set aside in the dead-letter topic at once.
    pub fn rejected(why: impl std::fmt::Display) -> Self {
        Self::Rejected(why.to_string())
    }

    /// It may pass: the component's failure policy decides whether to try again.
    pub fn failed(why: impl std::fmt::Display) -> Self {
        Self::Failed(why.to_string())
    }
}

/// With `?`, any error becomes a failure that may pass. Where trying again cannot cure it, say so:
/// `.map_err(Failure::rejected)?`.
impl<E: std::error::Error> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::failed(error)
    }
}

/// Has panics told by the host, which otherwise sees no more than a trap. A component's start calls it.
#[doc(hidden)]
pub extern "C" fn tell_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let what = panic.payload_as_str().unwrap_or("no message");
        match panic.location() {
            Some(place) => log::error!("panicked at {}:{}: {what}", place.file(), place.line()),
            None => log::error!("panicked: {what}"),
        }
    }));
}

#[doc(hidden)]
#[macro_export]
macro_rules! __component {
    ($component:ident) => {
        #[allow(missing_docs, unsafe_code, unused, clippy::all, clippy::pedantic)]
        mod heddle_bindings {
            $crate::wit_bindgen::generate!({
                path: "wit",
                world: "component",
                runtime_path: "heddle_sdk::wit_bindgen::rt",
                additional_derives: [PartialEq, Clone],
                with: {
                    "heddle:runtime/types@0.1.0": ::heddle_sdk::types,
                    "heddle:runtime/context@0.1.0": ::heddle_sdk::context,
                    "heddle:runtime/log@0.1.0": ::heddle_sdk::log,
                    "heddle:runtime/random@0.1.0": ::heddle_sdk::random,
                },
                generate_all,
            });

            // Run by the first call of a handler.
            #[cfg(target_family = "wasm")]
            #[used]
            #[unsafe(link_section = ".init_array")]
            static TELL_PANICS: extern "C" fn() = $crate::tell_panics;

            export!(Component);
            use super::$component as Component;
        }
        #[allow(unused_imports)]
        use heddle_bindings::exports::heddle::component::*;
        // In tests there is no host to import from: emitters and stores are fakes.
        #[cfg(not(target_family = "wasm"))]
        #[allow(missing_docs, unused, unreachable_pub, clippy::all, clippy::pedantic)]
        mod heddle_fakes {
            ::core::include!(::core::concat!(::core::env!("CARGO_MANIFEST_DIR"), "/heddle/fakes.rs"));
        }
        #[cfg(target_family = "wasm")]
        #[allow(unused_imports)]
        use heddle_bindings::heddle::component::*;
        #[cfg(not(target_family = "wasm"))]
        #[allow(unused_imports)]
        use heddle_fakes::*;
        #[allow(unused_imports)]
        use $crate::{Failure, Header, context, log, random};
    };
}
