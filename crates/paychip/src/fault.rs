//! Why a command failed: a stable code, a sentence, and what to do about it.

use std::path::Path;

/// A failed command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// A stable code, for scripts.
    pub code: String,
    /// A sentence for people.
    pub message: String,
    /// The field or option at fault.
    pub field: Option<String>,
    /// What to do next.
    pub hint: Option<String>,
}

impl Fault {
    /// A fault with a code and a sentence.
    pub fn new(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self { code: code.into(), message: message.into(), field: None, hint: None }
    }

    /// Something that should not happen.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new("internal", message)
    }

    /// A file or folder that could not be read or written.
    pub fn file(path: &Path, error: impl core::fmt::Display) -> Self {
        Self::new("file", format!("{}: {error}", path.display()))
    }

    /// The same fault, at a field.
    #[must_use]
    pub fn at(mut self, field: impl Into<String>) -> Self {
        self.field = Some(field.into());
        self
    }

    /// The same fault, with advice.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Whether the cloud may have done what was asked, although it did not say so.
    pub fn outcome_is_unknown(&self) -> bool {
        ["unreachable", "answer_malformed", "internal", "stopped"].contains(&self.code.as_str())
    }

    /// 3 where the cloud could not be reached (worth a retry with the same numbers), else 1. Wrong usage is 2.
    pub fn exit_code(&self) -> u8 {
        if self.code == "unreachable" { 3 } else { 1 }
    }
}

impl core::fmt::Display for Fault {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{} [{}]", self.message, self.code)?;
        if let Some(field) = &self.field {
            write!(f, " (at {field})")?;
        }
        if let Some(hint) = &self.hint {
            write!(f, "\n  → {hint}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Fault {}
