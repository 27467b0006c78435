//! What happened, line by line, as a hash: two runs of one seed must come to the same.

use sha2::{Digest, Sha256};

/// The trace of a run.
#[derive(Default)]
pub(crate) struct Trace {
    hash: Sha256,
    lines: Option<Vec<String>>,
}

impl Trace {
    /// One that keeps its lines as well.
    pub(crate) fn kept() -> Self {
        Self { hash: Sha256::new(), lines: Some(Vec::new()) }
    }

    pub(crate) fn line(&mut self, line: String) {
        self.hash.update(line.as_bytes());
        self.hash.update(b"\n");
        if let Some(lines) = &mut self.lines {
            lines.push(line);
        }
    }

    /// The hash in hexadecimal digits, and the lines where they were kept.
    pub(crate) fn end(self) -> (String, Vec<String>) {
        let hash = self.hash.finalize();
        (hash.iter().map(|byte| format!("{byte:02x}")).collect(), self.lines.unwrap_or_default())
    }
}
