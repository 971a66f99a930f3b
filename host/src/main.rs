//! The command `heddle`.

use std::process::ExitCode;

fn main() -> ExitCode {
    heddle::cli::main()
}
