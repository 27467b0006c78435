//! `cargo xtask bench chip`: what the chip costs in flash, RAM and instructions, counted in its RISC-V image, and how
//! many power cuts its tests make. Written into `docs/measurements.md`; a budget that is not held is a failure.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::json;

use crate::firmware::{self, MEASURING, PRODUCT, SMALL};
use crate::process::{cargo, finish, root};

const PAGE: &str = "docs/measurements.md";
const BEGIN: &str = "<!-- written by `cargo xtask bench chip` -->\n";
const END: &str = "<!-- end -->\n";

/// What must hold (docs/measurements.md says why).
const MAX_FLASH_BYTES: u64 = 96 * 1024;
const MAX_SMALL_FLASH_BYTES: u64 = 48 * 1024;
const MAX_RAM_BYTES: u64 = 12 * 1024;
/// A code, in hundredths of what its primitives take.
const MAX_CODE_PERCENT: u64 = 125;

type Numbers = BTreeMap<String, u64>;

/// Measures, writes the table, writes the JSON if wanted, and holds the numbers to the budgets.
pub(crate) fn run(json: Option<&str>) -> Result<(), String> {
    firmware::emulator_is_there()?;
    let (_, product) = firmware::build(&PRODUCT)?;
    let (_, small) = firmware::build(&SMALL)?;
    let (image, _) = firmware::build(&MEASURING)?;
    let mut numbers = counted(&image)?;
    let (cuts, bad) = power_cuts()?;
    let stack = *numbers.get("stack_bytes").ok_or("the stack was not measured")?;
    for (name, number) in [
        ("flash_bytes", product.flash),
        ("flash_bytes_without_p256", small.flash),
        ("ram_bytes", product.ram + stack),
        ("power_cuts", cuts),
        ("power_cuts_bad", bad),
    ] {
        numbers.insert(name.to_owned(), number);
    }
    for (from, to) in [("code", "code_instructions"), ("code_primitives", "code_primitives_instructions")] {
        let number = numbers.remove(from).ok_or_else(|| format!("{from} was not measured"))?;
        numbers.insert(to.to_owned(), number);
    }
    let table = table(&numbers);
    print!("{table}");
    write_page(&table)?;
    if let Some(path) = json {
        let text = format!("{:#}\n", json!(numbers));
        std::fs::write(path, text).map_err(|error| format!("{path}: {error}"))?;
    }
    let missed = missed(&numbers);
    if missed.is_empty() { Ok(()) } else { Err(missed.join("; ")) }
}

/// Every budget that is not held, as a sentence.
fn missed(numbers: &Numbers) -> Vec<String> {
    let number = |name: &str| numbers.get(name).copied().unwrap_or(u64::MAX);
    let budget = number("code_primitives_instructions").saturating_mul(MAX_CODE_PERCENT) / 100;
    [
        ("flash_bytes", MAX_FLASH_BYTES),
        ("flash_bytes_without_p256", MAX_SMALL_FLASH_BYTES),
        ("ram_bytes", MAX_RAM_BYTES),
        ("code_instructions", budget),
        ("power_cuts_bad", 0),
    ]
    .into_iter()
    .filter(|(name, most)| number(name) > *most)
    .map(|(name, most)| format!("{name} is {}, and may be {most} at most", number(name)))
    .collect()
}

/// The lines `measured NAME NUMBER` of a run in QEMU, where every instruction is a tick.
fn counted(image: &Path) -> Result<Numbers, String> {
    let arguments = ["test", "--locked", "--package", "paychip", "--test", "riscv", "--", "--ignored", "--nocapture"];
    let mut command = cargo(&arguments);
    command.env("PAYCHIP_MEASURE_IMAGE", image);
    let finished = finish(command)?;
    if !finished.ok {
        return Err(format!("the measurement failed:\n{}{}", finished.stdout, finished.stderr));
    }
    Ok(finished.stdout.lines().filter_map(measured).collect())
}

fn measured(line: &str) -> Option<(String, u64)> {
    let (name, number) = line.strip_prefix("measured ")?.split_once(' ')?;
    Some((name.to_owned(), number.parse().ok()?))
}

/// Power cuts made by the chip's tests, and tests that found something wrong after one.
fn power_cuts() -> Result<(u64, u64), String> {
    let mut sums = (0, 0);
    for which in [["--test", "power_cuts"], ["--lib", "power_cuts"]] {
        let mut arguments = vec!["test", "--locked", "--package", "chip", "--features", "virtual", "--no-fail-fast"];
        arguments.extend(which);
        arguments.extend(["--", "--nocapture"]);
        let finished = finish(cargo(&arguments))?;
        let (cuts, bad) = cuts_in(&finished.stdout);
        if cuts == 0 {
            return Err(format!("no power was cut:\n{}", finished.stderr.trim_end()));
        }
        sums = (sums.0 + cuts, sums.1 + bad);
    }
    Ok(sums)
}

fn cuts_in(printed: &str) -> (u64, u64) {
    // Where tests print at the same time, a line may begin with another's.
    let cuts = printed.lines().filter_map(|line| line.rsplit_once("power cuts made: ")?.1.trim().parse::<u64>().ok());
    let results = printed.lines().filter_map(|line| line.split_once("test result: ")?.1.split("; ").nth(1));
    let bad = results.filter_map(|failed| failed.strip_suffix(" failed")?.parse::<u64>().ok());
    (cuts.sum(), bad.sum())
}

fn table(numbers: &Numbers) -> String {
    let mut text = String::from("| what | number |\n|---|---:|\n");
    for (name, number) in numbers {
        text.push_str(&format!("| `{name}` | {} |\n", grouped(*number)));
    }
    if let (Some(code), Some(primitives)) =
        (numbers.get("code_instructions"), numbers.get("code_primitives_instructions"))
    {
        let percent = code * 100 / (*primitives).max(1);
        text.push_str(&format!("\nA code takes {}.{:02} times its primitives.\n", percent / 100, percent % 100));
    }
    for missed in missed(numbers) {
        text.push_str(&format!("\n**Missed:** {missed}.\n"));
    }
    text
}

fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let groups: Vec<&str> =
        digits.as_bytes().rchunks(3).rev().filter_map(|part| core::str::from_utf8(part).ok()).collect();
    groups.join(" ")
}

/// Puts the table in its place in the page.
fn write_page(table: &str) -> Result<(), String> {
    let path = root().join(PAGE);
    let page = std::fs::read_to_string(&path).map_err(|error| format!("{PAGE}: {error}"))?;
    let page = with_table(&page, table).ok_or_else(|| format!("{PAGE} has no place for the table"))?;
    std::fs::write(&path, page).map_err(|error| format!("{PAGE}: {error}"))
}

fn with_table(page: &str, table: &str) -> Option<String> {
    let (before, rest) = page.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}{table}{END}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn budgets_are_held_to_the_byte() {
        let held: Numbers = [
            ("flash_bytes", 98_304),
            ("flash_bytes_without_p256", 49_152),
            ("ram_bytes", 12_288),
            ("code_instructions", 1_250),
            ("code_primitives_instructions", 1_000),
            ("power_cuts_bad", 0),
        ]
        .map(|(name, number)| (name.to_owned(), number))
        .into();
        assert_eq!(missed(&held), [""; 0]);
        for name in ["flash_bytes", "flash_bytes_without_p256", "ram_bytes", "code_instructions", "power_cuts_bad"] {
            let mut more = held.clone();
            *more.get_mut(name).unwrap() += 1;
            assert_eq!(missed(&more).len(), 1, "{name}");
            more.remove(name);
            assert_eq!(missed(&more).len(), 1, "{name} not measured");
        }
    }

    #[test]
    fn numbers_are_found_in_what_tests_print() {
        assert_eq!(measured("measured code 89084"), Some(("code".to_owned(), 89_084)));
        assert_eq!(measured("test code ... ok"), None);
        let printed = "factory: 12 power cuts\ntest a ... power cuts made: 40\npower cuts made: 2\n\
                       test result: FAILED. 3 passed; 1 failed; 0 ignored";
        assert_eq!(cuts_in(printed), (42, 1));
    }

    #[test]
    fn the_table_takes_the_place_of_the_one_before() {
        let page = format!("a\n{BEGIN}old\n{END}b\n");
        assert_eq!(with_table(&page, "new\n"), Some(format!("a\n{BEGIN}new\n{END}b\n")));
        assert_eq!(with_table("a\n", "new\n"), None);
    }
}
