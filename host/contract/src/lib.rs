//! What a component is typed by.
