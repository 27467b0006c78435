//! `paychip`: the open payment chip on the command line.

fn main() -> std::process::ExitCode {
    paychip::run_program()
}

/// A payment's memory is asked for on one thread and given back on another; this allocator is made for that
/// (docs/decisions/0006).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
