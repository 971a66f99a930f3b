//! Bounds for values of every format.

/// The maximum memory of a read value, for each of its bytes. Fields that the writer's schema does not have, nulls, and
/// zeros that are not written take memory but no bytes.
pub const MEMORY_PER_BYTE_MAX: usize = 256;

/// The memory that every read value may take, in bytes.
pub const FREE_MEMORY_BYTES_MAX: usize = 64 << 20;
