//! How answers are printed: sentences for people, one JSON document for scripts. The only place that prints.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "this is the program's voice")]

use std::io::{IsTerminal as _, Write};

use serde_json::{Value, json};

use platform::text::is_hidden;

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
        self.raw(&if self.json { harmless_json(document) } else { harmless(lines) });
    }

    /// Something on the way to the answer; scripts do not see it.
    pub(crate) fn note(self, line: &str) {
        if !self.json {
            self.raw(&harmless(line));
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
            eprintln!("{}", harmless_json(&json!({ "error": error })));
        } else {
            eprintln!("error: {}", harmless(&fault.to_string()));
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

/// Text for a terminal. What the program shows comes from a cloud, a file or a command line of somebody: what in it would move
/// the cursor, turn writing round or not show at all is written as its number. Lines stay lines.
fn harmless(text: &str) -> String {
    escaped(text, |character, to| to.extend(character.escape_unicode()))
}

/// The same for JSON, in which such a character can only stand in a string, and has an escape there.
fn harmless_json(document: &Value) -> String {
    escaped(&document.to_string(), |character, to| {
        let mut units = [0; 2];
        for unit in character.encode_utf16(&mut units) {
            to.push_str(&format!("\\u{unit:04x}"));
        }
    })
}

fn escaped(text: &str, escape: impl Fn(char, &mut String)) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        if is_hidden(character) && !['\n', '\t'].contains(&character) {
            escape(character, &mut shown);
        } else {
            shown.push(character);
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

    use super::*;

    const EVIL: &str = "a\u{1b}[2J\u{9b}31m\u{202e}b\u{200b}\rc\u{e0041}";

    #[test]
    fn nothing_that_is_printed_moves_a_cursor_or_turns_writing_round() {
        let shown = harmless(&format!("one\n\t{EVIL}"));
        assert_eq!(shown, "one\n\ta\\u{1b}[2J\\u{9b}31m\\u{202e}b\\u{200b}\\u{d}c\\u{e0041}");
        let document = json!({ EVIL: [EVIL] });
        let shown = harmless_json(&document);
        assert!(!shown.chars().any(is_hidden), "{shown:?}");
        assert_eq!(serde_json::from_str::<Value>(&shown).unwrap(), document, "it is the same document");
    }
}
