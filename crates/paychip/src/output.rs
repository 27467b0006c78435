//! How answers are printed: sentences for people, one JSON document for scripts. The only place that prints.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "this is the program's voice")]

use std::io::{IsTerminal as _, Write};

use serde_json::{Value, json};

use crate::fault::Fault;

/// Prints for people or for scripts.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    json: bool,
}

impl Output {
    pub(crate) fn new(json: bool) -> Self {
        Self { json }
    }

    /// The answer of a command: `lines` for people, `document` for scripts.
    pub(crate) fn answer(self, lines: &str, document: &Value) {
        self.raw(&if self.json { document.to_string() } else { lines.to_owned() });
    }

    /// Something on the way to the answer; scripts do not see it.
    pub(crate) fn note(self, line: &str) {
        if !self.json {
            self.raw(line);
        }
    }

    /// Progress of a long step, on the error channel, so that it never mixes with the answer.
    pub(crate) fn progress(self, what: &str, percent: u8) {
        if !self.json {
            const WIDTH: usize = 30;
            let full = usize::from(percent.min(100)) * WIDTH / 100;
            eprintln!("  {what:<22} {}{} {percent:>3} %", "█".repeat(full), "░".repeat(WIDTH - full));
        }
    }

    /// How far a long step is, in one line of the terminal that is written again and again; nothing where nobody looks.
    pub(crate) fn bar(self, what: &str, done: u64, all: u64) {
        const WIDTH: u64 = 30;
        if self.json || !std::io::stderr().is_terminal() {
            return;
        }
        let full = (done * WIDTH / all.max(1)).min(WIDTH) as usize;
        let (bar, rest) = ("█".repeat(full), "░".repeat(WIDTH as usize - full));
        eprint!("\r  {what:<22} {bar}{rest} {done} of {all}{}", if done >= all { "\n" } else { "" });
        let _ = std::io::stderr().flush();
    }

    /// A failure.
    pub(crate) fn fault(self, fault: &Fault) {
        if self.json {
            let error = json!({"code": fault.code, "message": fault.message, "field": fault.field, "hint": fault.hint});
            eprintln!("{}", json!({ "error": error }));
        } else {
            eprintln!("error: {fault}");
        }
    }

    /// Asks for a line of input.
    pub(crate) fn prompt(self, what: &str) {
        eprint!("{what}: ");
        let _ = std::io::stderr().flush();
    }

    /// Text as it is. A reader that has gone away (`| head`) is no error.
    pub(crate) fn raw(self, text: &str) {
        let _ = writeln!(std::io::stdout(), "{text}");
    }
}
