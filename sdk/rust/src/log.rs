//! Lines for the host's log: `log::info!("{n} items")`, and the same for `trace`, `debug`, `warn` and `error`.
//!
//! They are told when the handler is done: all of them if it succeeds; if it fails, those of `warn` and `error`, and
//! when it traps, the last line is the reason if it has the level `error`. The first 100 of a delivery are kept and the
//! last one, of 8 KiB each.

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

/// Logs a line of the level `trace`; takes what `format!` takes.
#[macro_export]
#[doc(hidden)]
macro_rules! __log_trace {
    ($($message:tt)+) => { $crate::__log!(Trace, $($message)+) };
}

/// Logs a line of the level `debug`; takes what `format!` takes.
#[macro_export]
#[doc(hidden)]
macro_rules! __log_debug {
    ($($message:tt)+) => { $crate::__log!(Debug, $($message)+) };
}

/// Logs a line of the level `info`; takes what `format!` takes.
#[macro_export]
#[doc(hidden)]
macro_rules! __log_info {
    ($($message:tt)+) => { $crate::__log!(Info, $($message)+) };
}

/// Logs a line of the level `warn`; takes what `format!` takes.
#[macro_export]
#[doc(hidden)]
macro_rules! __log_warn {
    ($($message:tt)+) => { $crate::__log!(Warn, $($message)+) };
}

/// Logs a line of the level `error`; takes what `format!` takes.
#[macro_export]
#[doc(hidden)]
macro_rules! __log_error {
    ($($message:tt)+) => { $crate::__log!(Error, $($message)+) };
}
