//! `cargo xtask bench chip`: what the chip costs in flash, RAM and instructions, counted in its RISC-V image, and how
//! many power cuts its tests make. Written into `docs/measurements.md`; a budget that is not held is a failure, here and
//! in the full run of the tests.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::json;

use crate::firmware::{self, MEASURING, PRODUCT, SMALL, SMALL_MEASURING};
use crate::page::{self, grouped};
use crate::process::{cargo, finish};

/// What must hold (docs/measurements.md says why).
const MAX_FLASH_BYTES: u64 = 96 * 1024;
const MAX_SMALL_FLASH_BYTES: u64 = 48 * 1024;
const MAX_RAM_BYTES: u64 = 12 * 1024;
/// A code, in hundredths of what its primitives take.
const MAX_CODE_PERCENT: u64 = 125;

/// What [`check`] prints.
const BUDGETED: [&str; 6] = [
    "flash_bytes",
    "flash_bytes_without_p256",
    "ram_bytes",
    "code_instructions",
    "code_primitives_instructions",
    "small_code_instructions",
];

type Numbers = BTreeMap<String, u64>;

/// Measures, writes the table, writes the JSON if wanted, and holds the numbers to the budgets.
pub(crate) fn run(json: Option<&str>) -> Result<(), String> {
    let mut numbers = of_images()?;
    let (cuts, bad) = power_cuts()?;
    numbers.insert("power_cuts".to_owned(), cuts);
    numbers.insert("power_cuts_bad".to_owned(), bad);
    let table = table(&numbers);
    print!("{table}");
    page::write("cargo xtask bench chip", &table)?;
    if let Some(path) = json {
        let text = format!("{:#}\n", json!(numbers));
        std::fs::write(path, text).map_err(|error| format!("{path}: {error}"))?;
    }
    held(&numbers)
}

/// Holds the images to their budgets, and writes nothing. That no power cut did harm is for the chip's own tests.
pub(crate) fn check() -> Result<(), String> {
    let mut numbers = of_images()?;
    for name in BUDGETED {
        println!("{name}: {}", numbers.get(name).copied().map_or("not measured".to_owned(), grouped));
    }
    numbers.insert("power_cuts_bad".to_owned(), 0);
    held(&numbers)
}

/// What the images take, and what the chip in them counts.
fn of_images() -> Result<Numbers, String> {
    firmware::emulator_is_there()?;
    let (_, product) = firmware::build(&PRODUCT)?;
    let (_, small) = firmware::build(&SMALL)?;
    let (image, _) = firmware::build(&MEASURING)?;
    let (small_image, _) = firmware::build(&SMALL_MEASURING)?;
    let mut numbers = counted(&image)?;
    let small_numbers = counted(&small_image)?;
    let stack = *numbers.get("stack_bytes").ok_or("the stack was not measured")?;
    for (name, number) in
        [("flash_bytes", product.flash), ("flash_bytes_without_p256", small.flash), ("ram_bytes", product.ram + stack)]
    {
        numbers.insert(name.to_owned(), number);
    }
    let small_code = *small_numbers.get("code").ok_or("the small image's code was not measured")?;
    numbers.insert("small_code_instructions".to_owned(), small_code);
    for (from, to) in [("code", "code_instructions"), ("code_primitives", "code_primitives_instructions")] {
        let number = numbers.remove(from).ok_or_else(|| format!("{from} was not measured"))?;
        numbers.insert(to.to_owned(), number);
    }
    Ok(numbers)
}

fn held(numbers: &Numbers) -> Result<(), String> {
    let missed = missed(numbers);
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
    let mut command = cargo(&firmware::IN_QEMU);
    command.args(["--", "--ignored", "--nocapture"]).env("PAYCHIP_MEASURE_IMAGE", image);
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
}
