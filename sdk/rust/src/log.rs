//! Lines for the host's log: `log::info!("{n} items")`, and the same for `trace`, `debug`, `warn` and `error`.
//!
//! They are kept only if the handler succeeds, at most 100 a delivery; of a handler that traps, the last one is told with the
//! trap if it has the level `error`.

pub use crate::runtime::heddle::runtime::log::{Level, write};
pub use crate::{
    __log_debug as debug, __log_error as error, __log_info as info, __log_trace as trace, __log_warn as warn,
};

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
