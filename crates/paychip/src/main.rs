//! `paychip`: the open payment chip on the command line.

fn main() -> std::process::ExitCode {
    paychip::run_program()
}
