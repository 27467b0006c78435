//! Writes the test vectors of the specification anew. They are made the same way every time, so `git diff` then
//! shows what a change to the specification changed for every other implementation.

use crate::process::{cargo, finish, printed, program, run};

/// A second computation of what a chip answers, in another language and over another's cryptography.
const TRANSCRIPTS: &str = "crates/chip/tests/transcripts/write.py";

/// Regenerates `spec/vectors`.
pub(crate) fn regenerate() -> Result<(), String> {
    run(cargo(&["test", "--locked", "--package", "paycode", "--test", "vectors", "--", "--ignored"]))?;
    if finish(program("python3", &["-c", "import cryptography"])).is_ok_and(|finished| finished.ok) {
        printed(program("python3", &[TRANSCRIPTS, "spec/vectors"]))?;
    } else {
        println!(
            "the transcripts of chip commands stay: they need Python with `cryptography` (pip install cryptography)"
        );
    }
    println!("spec/vectors is written; `git diff spec/vectors` shows what changed");
    Ok(())
}
