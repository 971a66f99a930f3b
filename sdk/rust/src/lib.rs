//! Write a Heddle component in Rust.
