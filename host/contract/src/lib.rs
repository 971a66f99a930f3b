//! What a component is typed by.
//!
//! - [`manifest`]: `component.toml` and `heddle.toml`, checked.
//! - [`section`]: the contract that travels inside a `.wasm` file.

pub mod manifest;
pub mod section;
