//! Bounds that hold for values of every format.

/// The most memory that a value may take once it is read, in bytes for each of its own. Fields that the writer's schema
/// does not have, nulls, and zeros that are not written take memory and no bytes.
pub const MEMORY_PER_BYTE_MAX: usize = 256;

/// The memory that every value may take once it is read, in bytes.
pub const FREE_MEMORY_BYTES_MAX: usize = 64 << 20;
