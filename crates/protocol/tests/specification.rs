//! The specification names everything the applet knows: whoever adds an instruction, an object or a status word writes
//! there first what it is.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

const SPECIFICATION: &str = include_str!("../../../spec/chip-commands.md");

/// The numbers that stand in `source` behind `opening`, in the hexadecimal digits written there.
fn numbers<'a>(source: &'a str, opening: &'a str) -> Vec<&'a str> {
    let found = source.split(opening).skip(1);
    let digits = |rest: &'a str| rest.split(|sign: char| !sign.is_ascii_hexdigit()).next().unwrap();
    let numbers: Vec<_> = found.map(digits).collect();
    assert!(numbers.len() > 10, "{opening} is not what they stand behind any more");
    numbers
}

/// The specification without its transcripts, which hold every byte there is.
fn rules() -> &'static str {
    SPECIFICATION.split("## 7. Transcripts").next().unwrap()
}

#[test]
fn every_instruction_has_a_section() {
    let headings: Vec<_> = rules().lines().filter(|line| line.starts_with('#')).collect();
    let source = include_str!("../src/applet/commands.rs");
    let instructions = source.split("pub mod ins").nth(1).unwrap().split("\n}").next().unwrap();
    for instruction in numbers(instructions, ": u8 = 0x") {
        let is_there = headings.iter().any(|line| line.contains(&format!(" {instruction} ")));
        assert!(is_there, "instruction {instruction} has no section");
    }
}

#[test]
fn every_object_is_explained() {
    let range = |text: &str| rules().contains(text);
    for tag in numbers(include_str!("../src/applet/mod.rs"), "Tag::new(0x") {
        let is_there = match tag {
            // The slots' logs are this and their number.
            "DF40" => range("`DF41`–`DF44`"),
            "DF30" => range("`DF30`–`DF39`"),
            _ => rules().split(|sign: char| !sign.is_ascii_alphanumeric()).any(|word| word == tag),
        };
        assert!(is_there, "object {tag} is not explained");
    }
}

#[test]
fn every_status_word_is_in_the_table() {
    let table = rules().split("## 6. Status words").nth(1).unwrap();
    for status in numbers(include_str!("../src/apdu/status.rs"), "Self = Self(0x") {
        assert!(table.contains(&format!("`{status}`")), "status word {status} is not in the table");
    }
    assert!(table.contains("`63Cx`"));
}

#[test]
fn every_stage_of_life_is_in_the_table() {
    let table = rules().split("## 2. Lifecycle").nth(1).unwrap().split("## 3.").next().unwrap();
    let source = include_str!("../src/applet/values.rs");
    let stages = source.split("pub enum Lifecycle").nth(1).unwrap().split("\n}").next().unwrap();
    let stages: Vec<_> = stages.lines().filter_map(|line| line.trim().strip_suffix(',')?.split_once(" = 0x")).collect();
    assert_eq!(stages.len(), 5);
    for (name, byte) in stages {
        assert!(table.contains(&format!("| `{byte}` | {name} |")), "{name} is not in the table");
    }
}
