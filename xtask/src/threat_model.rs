//! `docs/threat-model.md` names the test that shows each of its lines. Here it is checked that each line names one, or says
//! why there is none, and that every test it names exists.

use std::path::Path;

use crate::process::root;

const PAGE: &str = "docs/threat-model.md";
/// The head of the column with the tests.
const HEAD: &str = "| | | shown by |";
/// How a line begins that says why it has none.
const UNTESTED: &str = "not tested: ";

/// Checks the page against the tree.
pub(crate) fn check() -> Result<(), String> {
    let read = |path: &Path| std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()));
    let page = read(&root().join(PAGE))?;
    let crates = root().join("crates");
    let (faults, named) = faults(&page, |file| read(&crates.join(file)).ok());
    if !faults.is_empty() {
        return Err(format!("{PAGE}: {}", faults.join("; ")));
    }
    println!("{named} tests that {PAGE} names exist");
    Ok(())
}

/// Every mistake of the page, and how many tests it names.
fn faults(page: &str, read: impl Fn(&str) -> Option<String>) -> (Vec<String>, usize) {
    let (mut faults, mut named, mut in_table) = (Vec::new(), 0, false);
    for (number, line) in (1..).zip(page.lines()) {
        if !line.starts_with('|') {
            in_table = false;
        } else if line == HEAD {
            in_table = true;
        } else if in_table && !line.starts_with("|--") {
            let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
            let [_, _, proof] = cells[..] else {
                faults.push(format!("line {number} has {} cells", cells.len()));
                continue;
            };
            let names: Vec<&str> = proof.split('`').skip(1).step_by(2).filter(|name| name.contains("::")).collect();
            if names.is_empty() && !proof.starts_with(UNTESTED) {
                faults.push(format!("line {number} names no test, and does not say why"));
            }
            for name in names {
                named += 1;
                let exists = name
                    .split_once("::")
                    .is_some_and(|(file, test)| read(file).is_some_and(|source| has_test(&source, test)));
                if !exists {
                    faults.push(format!("line {number} names {name}, which is no test"));
                }
            }
        }
    }
    if named == 0 {
        faults.push("it names no test".to_owned());
    }
    (faults, named)
}

/// Whether a source has this test: a function with the attribute, or one in the list of a macro that makes tests.
fn has_test(source: &str, name: &str) -> bool {
    let lines: Vec<&str> = source.lines().map(str::trim).collect();
    let heads = [format!("fn {name}("), format!("async fn {name}(")];
    let is_head = |line: &str| heads.iter().any(|head| line.starts_with(head.as_str()));
    let has_attribute = |position: usize| {
        let above = lines[..position].iter().rev().take_while(|line| line.starts_with("#["));
        above.into_iter().any(|line| line.starts_with("#[test]") || line.starts_with("#[tokio::test"))
    };
    let functions: Vec<usize> = (0..lines.len()).filter(|position| is_head(lines[*position])).collect();
    let is_listed = source.contains("on_every_") && lines.contains(&format!("{name},").as_str());
    functions.iter().any(|position| has_attribute(*position)) || (is_listed && !functions.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: &str = "#[test]\nfn it_holds() {}\n\nfn helper() {}\n\n#[test]\n#[cfg(unix)]\nfn it_too() {}\n";

    fn told(proof: &str) -> Vec<String> {
        let page = format!("{HEAD}\n|---|---|---|\n| can | do | {proof} |\n| can | x | `a.rs::it_holds` |\n");
        faults(&page, |file| (file == "a.rs").then(|| SOURCE.to_owned())).0
    }

    #[test]
    fn a_test_that_exists_is_taken_and_an_invented_one_is_named() {
        assert_eq!(told("`a.rs::it_holds`, `a.rs::it_too`"), Vec::<String>::new());
        assert_eq!(told("`a.rs::it_fails`"), ["line 3 names a.rs::it_fails, which is no test"]);
        assert_eq!(told("`a.rs::helper`"), ["line 3 names a.rs::helper, which is no test"]);
        assert_eq!(told("`b.rs::it_holds`"), ["line 3 names b.rs::it_holds, which is no test"]);
    }

    #[test]
    fn a_line_names_a_test_or_says_why_not() {
        assert_eq!(told("not tested: nobody can"), Vec::<String>::new());
        assert_eq!(told("trust us"), ["line 3 names no test, and does not say why"]);
        assert_eq!(told("a | b"), ["line 3 has 4 cells"]);
        assert_eq!(faults("no table", |_| None).0, ["it names no test"]);
    }

    #[test]
    fn a_test_for_every_engine_counts() {
        let source = "async fn pays(home: Home) {}\nasync fn other() {}\non_every_database! {\n    pays,\n}\n";
        assert!(has_test(source, "pays"));
        assert!(!has_test(source, "other"));
    }
}
