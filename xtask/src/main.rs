//! What a developer runs: test.

fn main() {}
