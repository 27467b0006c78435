//! Tables that a command writes into `docs/measurements.md`, each between its own two lines.

use crate::process::root;

const PAGE: &str = "docs/measurements.md";
const END: &str = "<!-- end -->\n";

/// Puts the table of this command in its place in the page.
pub(crate) fn write(command: &str, table: &str) -> Result<(), String> {
    let path = root().join(PAGE);
    let page = std::fs::read_to_string(&path).map_err(|error| format!("{PAGE}: {error}"))?;
    let page = with_table(&page, command, table).ok_or_else(|| format!("{PAGE} has no place for the table"))?;
    std::fs::write(&path, page).map_err(|error| format!("{PAGE}: {error}"))
}

fn with_table(page: &str, command: &str, table: &str) -> Option<String> {
    let begin = format!("<!-- written by `{command}` -->\n");
    let (before, rest) = page.split_once(&begin)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{begin}{table}{END}{after}"))
}

/// A number with a space between groups of three digits.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let groups: Vec<&str> =
        digits.as_bytes().rchunks(3).rev().filter_map(|part| core::str::from_utf8(part).ok()).collect();
    groups.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_takes_the_place_of_the_one_before_and_of_no_other() {
        let page =
            "a\n<!-- written by `one` -->\nold\n<!-- end -->\nb\n<!-- written by `two` -->\nkept\n<!-- end -->\n";
        let with = with_table(page, "one", "new\n").unwrap();
        assert_eq!(with, page.replace("old", "new"));
        assert_eq!(with_table(page, "three", "new\n"), None);
    }

    #[test]
    fn long_numbers_are_grouped() {
        assert_eq!([7, 1_234, 10_000_000].map(grouped), ["7", "1 234", "10 000 000"]);
    }
}
