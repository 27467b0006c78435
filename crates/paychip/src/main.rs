//! The command-line program: serve, watch, pos, account, merchant, demo.

fn main() {}
