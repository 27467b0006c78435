//! Writes the test vectors of the specification anew. They are made the same way every time, so `git diff` then
//! shows what a change to the specification changed for every other implementation.

use crate::process::{cargo, run};

/// Regenerates `spec/vectors`.
pub(crate) fn regenerate() -> Result<(), String> {
    run(cargo(&["test", "--locked", "--package", "paycode", "--test", "vectors", "--", "--ignored"]))?;
    println!("spec/vectors is written; `git diff spec/vectors` shows what changed");
    Ok(())
}
