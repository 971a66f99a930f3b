//! The command `heddle`.

use std::process::ExitCode;

/// Takes the place of `malloc` and `free` in the whole process, librdkafka's part of it too: a delivery is many small
/// pieces of memory that live for microseconds, and a third less CPU goes into them than with glibc's allocator.
/// Without huge pages (its feature `no_thp`): memtables come and go, and with pages of 2 MiB the host would hold a
/// third more.
use mimalloc as _;

fn main() -> ExitCode {
    heddle::cli::main()
}
