//! Lines for the host's log: `log::info!("{n} items")`, and the same for `trace`, `debug`, `warn` and `error`.
//!
//! The host logs them when the handler is done: all of them if it succeeds, and those of `warn` and `error` if it
//! fails. If it traps, the last line is the reason, provided that it has the level `error`. The first 100 lines of a
//! delivery and its last one are kept, up to 8 KiB of each.

pub use crate::runtime::heddle::runtime::log::Level;
pub use crate::{
    __log_debug as debug, __log_error as error, __log_info as info, __log_trace as trace, __log_warn as warn,
};

/// Logs a line.
pub fn write(level: Level, message: &str) {
    #[cfg(target_family = "wasm")]
    crate::runtime::heddle::runtime::log::write(level, message);
    #[cfg(not(target_family = "wasm"))]
    crate::testing::log(level, message);
}

#[doc(hidden)]
#[macro_export]
macro_rules! __log {
    ($level:ident, $($message:tt)+) => {
        $crate::log::write($crate::log::Level::$level, &::std::format!($($message)+))
    };
}

/// Logs a line at level `trace`. Takes the arguments of `format!`.
#[macro_export]
#[doc(hidden)]
macro_rules! __log_trace {
    ($($message:tt)+) => { $crate::__log!(Trace, $($message)+) };
}

/// Logs a line at level `debug`. Takes the arguments of `format!`.
#[macro_export]
#[doc(hidden)]
macro_rules! __log_debug {
    ($($message:tt)+) => { $crate::__log!(Debug, $($message)+) };
}

/// Logs a line at level `info`. Takes the arguments of `format!`.
#[macro_export]
#[doc(hidden)]
macro_rules! __log_info {
    ($($message:tt)+) => { $crate::__log!(Info, $($message)+) };
}

/// Logs a line at level `warn`. Takes the arguments of `format!`.
#[macro_export]
#[doc(hidden)]
macro_rules! __log_warn {
    ($($message:tt)+) => { $crate::__log!(Warn, $($message)+) };
}

/// Logs a line at level `error`. Takes the arguments of `format!`.
#[macro_export]
#[doc(hidden)]
macro_rules! __log_error {
    ($($message:tt)+) => { $crate::__log!(Error, $($message)+) };
}
