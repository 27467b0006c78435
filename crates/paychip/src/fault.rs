//! Why a command failed: a stable code, a sentence, and what to do about it.

use std::path::Path;

/// A failed command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    /// A stable code, for scripts.
    pub(crate) code: String,
    /// A sentence for people.
    pub(crate) message: String,
    /// The field or option at fault.
    pub(crate) field: Option<String>,
    /// What to do next.
    pub(crate) hint: Option<String>,
}

impl Fault {
    pub(crate) fn new(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self { code: code.into(), message: message.into(), field: None, hint: None }
    }

    pub(crate) fn internal(message: impl Into<String>) -> Self {
        Self::new("internal", message)
    }

    pub(crate) fn file(path: &Path, error: impl core::fmt::Display) -> Self {
        Self::new("file", format!("{}: {error}", path.display()))
    }

    pub(crate) fn at(mut self, field: impl Into<String>) -> Self {
        self.field = Some(field.into());
        self
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// 2 where the cloud could not be reached (worth a retry with the same numbers), else 1.
    pub(crate) fn exit_code(&self) -> u8 {
        if self.code == "unreachable" { 2 } else { 1 }
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
