//! From schemas to the WIT that a component is written against.

mod shape;

pub use shape::{Case, Shape, ShapeId, Shapes};
