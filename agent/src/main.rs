//! The one binary. Reads the command line and returns; the library does the work.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::SUCCESS
}
