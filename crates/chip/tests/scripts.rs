//! Command-response scripts: what is sent and what is answered, as data (`scripts/`, their form in
//! `support/script.rs`). The worked transcript of the specification is such a script too, and is run here as it stands
//! there.
#![cfg(all(feature = "virtual", feature = "p256"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

#[path = "support/script.rs"]
mod script;
mod support;

use support::{TestChip, blank_flash, open, send};

/// The chip in this process; nothing only while its power is off.
struct Native(Option<TestChip>);

impl Native {
    fn blank() -> Self {
        Self(Some(open(blank_flash())))
    }
}

impl script::Target for Native {
    fn exchange(&mut self, command: &[u8]) -> Vec<u8> {
        let (mut answer, status) = send(self.0.as_mut().unwrap(), command);
        answer.extend(status.to_be_bytes());
        answer
    }

    fn reset(&mut self) {
        self.0.as_mut().unwrap().reset();
    }

    fn power_cycle(&mut self) {
        self.0 = self.0.take().map(|chip| open(chip.into_parts().0));
    }
}

#[test]
fn every_script_runs_as_written() {
    for (name, text) in script::all() {
        script::run(&name, &text, &mut Native::blank());
    }
}
