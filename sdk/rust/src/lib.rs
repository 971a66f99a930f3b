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
//! The crate's root then contains:
//!
//! - `contracts`: the types of the schemas.
//! - `on_<topic>::Guest`: the handler of a topic that the manifest consumes. The compiler requires one for each.
//! - `emit_<topic>::send(&value)`, `emit_<topic>::send_with(&value, key, &headers)`: for each topic that the manifest
//!   emits. `emit_<topic>::delete(key)` emits a tombstone.
//! - [`context`]`::current()`: the delivery, with its id, attempt, topic, partition, offset, timestamp, key and
//!   headers.
//! - `store_<name>::{get, put, delete, scan}`: for each store of the manifest, typed by its schemas:
//!
//!   ```ignore
//!   let mut stock = store_stock::get(&item.product_id).unwrap_or(StockLevel { available: 0 });
//!   stock.available -= item.quantity;
//!   store_stock::put(&item.product_id, &stock);
//!   for (product_id, stock) in store_stock::scan("", None, 100) { … }
//!   ```
//!
//!   A handler sees its own writes, and earlier writes of handlers of the same partition. Its writes are kept only if
//!   it succeeds. `scan` takes a prefix, the key after which it continues, and a limit. Stores whose keys have a schema
//!   have no `scan`.
//! - `table_<name>::{get, scan}`: for each table of the manifest, a read-only view of a compacted topic, typed by the
//!   topic's schemas:
//!
//!   ```ignore
//!   let product = table_products::get(&item.product_id).ok_or_else(|| Failure::failed("the product is not known"))?;
//!   ```
//! - [`log`]: lines for the host's log.
//! - [`random`]: numbers that are the same whenever the same record is processed.
//! - [`Failure`] and [`Header`].
//!
//! A handler has no clock and no source of randomness: the same record on the same state has the same effects, also
//! when it is processed again. A panic is a failure, too. Its message and location are in the dead letter.
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
    /// A permanent failure: a retry cannot help, so the record is dead-lettered immediately.
    pub fn rejected(why: impl std::fmt::Display) -> Self {
        Self::Rejected(why.to_string())
    }

    /// A failure that may be temporary. The component's failure policy decides whether to retry.
    pub fn failed(why: impl std::fmt::Display) -> Self {
        Self::Failed(why.to_string())
    }
}

/// With `?`, any error becomes a failure that may be temporary. For a permanent failure, use
/// `.map_err(Failure::rejected)?`.
impl<E: std::error::Error> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::failed(error)
    }
}

/// Installs a hook that logs panics. Without it the host sees only a trap. The start of a component calls it.
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

            // The first call of a handler runs this.
            #[cfg(target_family = "wasm")]
            #[used]
            #[unsafe(link_section = ".init_array")]
            static TELL_PANICS: extern "C" fn() = $crate::tell_panics;

            export!(Component);
            use super::$component as Component;
        }
        #[allow(unused_imports)]
        use heddle_bindings::exports::heddle::component::*;
        // Tests have no host to import from, so emitters and stores are fakes.
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
