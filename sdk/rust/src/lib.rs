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
//!         emit_orders_accepted::send(&OrderAccepted { order_id: order.order_id });
//!         Ok(())
//!     }
//! }
//! ```
//!
//! - `contracts`: the types of the schemas.
//! - `on_<topic>::Guest`: the handler of a topic that the manifest consumes; the compiler asks for each of them.
//! - `emit_<topic>::send(&value)`, `emit_<topic>::send_with(&value, key, &headers)`: for each topic that the manifest emits.
//! - `context::current()`: the delivery: its id, attempt, topic, partition, offset, timestamp, key and headers.
//! - `log::write(log::Level::Info, "…")`: a line for the host's log.
//! - `Failure::rejected(why)`: trying again cannot cure it; `Failure::failed(why)`: it may pass.
//!
//! A handler has no clock and no randomness: the same record gives the same effects, whenever it is handled again.

#[doc(hidden)]
pub use wit_bindgen;

/// Makes this crate a component whose handlers the type `$component` implements. See the [crate](crate)'s example.
///
/// Needs the folder `wit` that `heddle build` writes beside `Cargo.toml`.
#[macro_export]
macro_rules! component {
    ($component:ident) => {
        #[allow(missing_docs, unused, clippy::all, clippy::pedantic)]
        mod heddle_bindings {
            $crate::wit_bindgen::generate!({
                path: "wit",
                world: "component",
                runtime_path: "heddle_sdk::wit_bindgen::rt",
                additional_derives: [PartialEq, Clone],
                generate_all,
            });

            impl self::heddle::runtime::types::Failure {
                /// Trying again cannot cure it: the record is set aside at once.
                pub fn rejected(why: impl ::core::fmt::Display) -> Self {
                    Self::Rejected(::std::string::ToString::to_string(&why))
                }

                /// It may pass: the failure policy decides whether to try again.
                pub fn failed(why: impl ::core::fmt::Display) -> Self {
                    Self::Failed(::std::string::ToString::to_string(&why))
                }
            }

            export!(Component);
            use super::$component as Component;
        }
        #[allow(unused_imports)]
        use heddle_bindings::exports::heddle::component::*;
        #[allow(unused_imports)]
        use heddle_bindings::heddle::component::*;
        #[allow(unused_imports)]
        use heddle_bindings::heddle::runtime::types::{Failure, Header};
        #[allow(unused_imports)]
        use heddle_bindings::heddle::runtime::{context, log};
    };
}
