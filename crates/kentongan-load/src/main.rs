//! The command `kentongan-load`. All of it is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    kentongan_load::main()
}
