//! Holds `docs/rules.md` against the sources: each rule there names a test that exists and runs, or says why none does,
//! and each id that a test is named for is a rule there.
//!
//! It looks at names alone. Whether a test fails when its rule is broken is for the reader of both to judge.

use std::{collections::BTreeSet, fs, ops::RangeInclusive};

use crate::structure::sources::{SourceTree, workspace_root};

/// The rules that there are, by the letters of their ids. Of two lists that both count with D, the first four defects of
/// the older system have two digits.
static RULES: [(&str, RangeInclusive<u32>); 9] = [
    ("R", 1..=8),
    ("C", 1..=5),
    ("S", 1..=6),
    ("V", 1..=3),
    ("D", 1..=4),
    ("O", 1..=4),
    ("req", 1..=31),
    ("D", 5..=56),
    ("T", 1..=25),
];
const MORE_RULES: [&str; 5] = ["req40", "D01", "D02", "D03", "D04"];

/// What shows that a rule is kept, or why nothing does.
#[derive(Debug, PartialEq)]
enum Proof {
    /// A test by its name and the module that it lies in.
    Test {
        module: String,
        name: String,
    },
    /// A check of `make contract`, which a test plays as well.
    Check(String),
    NotApplicable(String),
    WaitsFor(String),
}

impl Proof {
    /// Reads an item below a rule.
    fn parse(text: &str) -> Option<Self> {
        let reason = |prefix: &str| text.strip_prefix(prefix).map(|text| text.trim().to_owned());
        if let Some(why) = reason("not applicable:") {
            return Some(Self::NotApplicable(why));
        }
        if let Some(what) = reason("waits for:") {
            return Some(Self::WaitsFor(what));
        }
        if let Some(check) = reason("contract:") {
            return Some(Self::Check(check));
        }
        let path = text.strip_prefix('`')?.strip_suffix('`')?;
        let (module, name) = path.rsplit_once("::")?;
        let module = module.rsplit("::").next()?;
        Some(Self::Test {
            module: module.to_owned(),
            name: name.to_owned(),
        })
    }
}

/// A rule of the document.
#[derive(Debug, Default)]
struct Rule {
    id: String,
    sentence: String,
    /// The items below it, as they stand there.
    items: Vec<String>,
}

/// Reads rules: `- **R1** sentence`, and `  - proof` below it, both over as many lines as they need.
fn read_rules(document: &str) -> Vec<Rule> {
    let mut rules = Vec::<Rule>::new();
    let mut is_open = false;
    for line in document.lines() {
        if let Some((id, sentence)) = line.strip_prefix("- **").and_then(|line| line.split_once("** ")) {
            rules.push(Rule {
                id: id.to_owned(),
                sentence: sentence.trim().to_owned(),
                items: Vec::new(),
            });
            is_open = true;
            continue;
        }
        let Some(rule) = rules.last_mut().filter(|_| is_open && line.starts_with("  ")) else {
            is_open = false;
            continue;
        };
        if let Some(item) = line.strip_prefix("  - ") {
            rule.items.push(item.trim().to_owned());
        } else {
            let text = rule.items.last_mut().unwrap_or(&mut rule.sentence);
            text.push(' ');
            text.push_str(line.trim());
        }
    }
    rules
}

/// A function that is a test, of Rust or Python.
#[derive(Debug)]
struct TestFunction {
    file: String,
    name: String,
    is_ignored: bool,
    /// Its doc comment.
    comment: String,
}

impl TestFunction {
    /// Whether its file is that of a module, or lies below it.
    fn is_in(&self, module: &str) -> bool {
        let path = self.file.rsplit_once('.').map_or(self.file.as_str(), |(path, _)| path);
        path.split('/').any(|part| part == module)
    }
}

/// The name of the function that a line declares.
fn declared_function(line: &str) -> Option<&str> {
    let mut rest = line;
    for word in ["pub ", "async ", "unsafe "] {
        rest = rest.strip_prefix(word).unwrap_or(rest);
    }
    let name = rest
        .strip_prefix("fn ")
        .or_else(|| rest.strip_prefix("def test_").map(|_| &rest[4..]))?;
    name.find(['(', '<']).map(|end| &name[..end])
}

fn read_test_functions(tree: &SourceTree) -> Vec<TestFunction> {
    let mut found = Vec::new();
    for (file, text) in tree.files() {
        let is_python = file.ends_with(".py");
        let (mut is_test, mut is_ignored, mut comment) = (is_python, false, String::new());
        for line in text.lines().map(str::trim) {
            if let Some(text) = line.strip_prefix("///") {
                comment.push_str(text);
                comment.push(' ');
            } else if line.starts_with("#[") {
                is_test |= line.starts_with("#[test]") || line.starts_with("#[tokio::test");
                is_ignored |= line.starts_with("#[ignore");
            } else if !line.is_empty() && !line.starts_with("//") {
                if let Some(name) = declared_function(line).filter(|_| is_test) {
                    found.push(TestFunction {
                        file: file.to_owned(),
                        name: name.to_owned(),
                        is_ignored,
                        comment: std::mem::take(&mut comment),
                    });
                }
                (is_test, is_ignored) = (is_python, false);
                comment.clear();
            }
        }
    }
    found
}

/// The id that a word is: the letters of a rule, and digits.
fn id_of(word: &str) -> Option<String> {
    let digits = word.find(|c: char| c.is_ascii_digit())?;
    let (letters, number) = word.split_at(digits);
    let known = RULES.iter().find(|(known, _)| letters.eq_ignore_ascii_case(known))?;
    (number.len() <= 2 && number.bytes().all(|byte| byte.is_ascii_digit())).then(|| format!("{}{number}", known.0))
}

/// The ids that a test is named for: `r5_...`, `d21_d22_...`, the first and the last of `r1_to_r8_...`.
fn ids_of(name: &str) -> Vec<String> {
    let words = name.trim_start_matches("test_").split('_');
    words.filter(|word| *word != "to").map_while(id_of).collect()
}

/// Ids that a comment names, as `R5` or `req12`.
fn ids_in(comment: &str) -> Vec<String> {
    let words = comment.split(|c: char| !c.is_ascii_alphanumeric());
    words.filter_map(|word| id_of(word).filter(|id| id == word)).collect()
}

/// Finds what is wrong with the proofs of one rule.
fn check_proofs(rule: &Rule, tests: &[TestFunction], checks: &str, faults: &mut Vec<String>) {
    let id = &rule.id;
    if rule.items.is_empty() {
        faults.push(format!("{id}: no test is named, nor why there is none"));
    }
    for item in &rule.items {
        match Proof::parse(item) {
            None => faults.push(format!("{id}: `{item}` is no test, no check and no reason")),
            Some(Proof::NotApplicable(text) | Proof::WaitsFor(text)) => {
                if text.len() < 10 {
                    faults.push(format!("{id}: `{item}` gives no reason"));
                }
            }
            Some(Proof::Check(name)) => {
                if !checks.contains(&format!("\"{name}\"")) {
                    faults.push(format!("{id}: there is no check `{name}` in tests/contract/checks"));
                }
            }
            Some(Proof::Test { module, name }) => {
                match tests.iter().find(|test| test.name == name && test.is_in(&module)) {
                    None => faults.push(format!("{id}: there is no test `{name}` in a file of `{module}`")),
                    // These need libraries of models, and run with `make test-nodes`.
                    Some(test) if test.is_ignored && !test.is_in("real_nodes") => {
                        faults.push(format!("{id}: {name} is ignored, and proves nothing"));
                    }
                    Some(_) => {}
                }
            }
        }
    }
}

/// Finds what the document says that is not so, and what it leaves out.
fn find_faults(document: &str, expected: &BTreeSet<String>, tree: &SourceTree) -> Vec<String> {
    let tests = read_test_functions(tree);
    let in_contract = tree
        .files()
        .filter(|(file, _)| file.starts_with("tests/contract/checks/"));
    let checks: String = in_contract.map(|(_, text)| text).collect();
    let mut faults = Vec::new();
    let mut known = BTreeSet::new();
    for rule in read_rules(document) {
        if rule.sentence.len() < 20 {
            faults.push(format!("{}: it has no sentence", rule.id));
        }
        check_proofs(&rule, &tests, &checks, &mut faults);
        if !known.insert(rule.id.clone()) {
            faults.push(format!("{}: it stands there twice", rule.id));
        }
    }
    let missing = expected.iter().filter(|id| !known.contains(*id));
    faults.extend(missing.map(|id| format!("{id}: it is not in the document")));
    for test in &tests {
        for id in ids_of(&test.name).into_iter().chain(ids_in(&test.comment)) {
            if !known.contains(&id) {
                faults.push(format!("{}: {} is about {id}, which is no rule", test.file, test.name));
            }
        }
    }
    faults
}

/// The ids of all rules.
fn expected_ids() -> BTreeSet<String> {
    let counted = RULES
        .iter()
        .flat_map(|(letters, numbers)| numbers.clone().map(move |n| format!("{letters}{n}")));
    counted.chain(MORE_RULES.map(str::to_owned)).collect()
}

#[test]
fn each_rule_names_tests_that_exist_or_says_why_it_has_none() {
    let root = workspace_root();
    let document = fs::read_to_string(root.join("docs/rules.md")).expect("docs/rules.md can be read");
    let faults = find_faults(&document, &expected_ids(), &SourceTree::read(&root));
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

#[cfg(test)]
mod tests {
    use super::*;

    const SENTENCE: &str = "A finished stage answers at once.";

    fn faults_of(items: &str, source: &str) -> Vec<String> {
        let document = format!("# Rules\n\n- **R1** {SENTENCE}\n{items}");
        let tree = SourceTree::made_up(&[
            ("tests/it/reuse.rs", source),
            ("tests/contract/checks/submit.rs", "check(\"2.1 a hit is a hit\", ...)"),
        ]);
        find_faults(&document, &BTreeSet::from(["R1".to_owned()]), &tree)
    }

    const SOURCE: &str = "#[tokio::test(flavor = \"x\")]\nasync fn r1_a_hit() {}\n";

    #[test]
    fn a_rule_is_proven_by_a_test_a_check_or_a_reason() {
        for item in [
            "  - `reuse::r1_a_hit`\n",
            "  - `it::reuse::r1_a_hit`\n  - contract: 2.1 a hit is a hit\n",
            "  - not applicable: the older system alone had such a lock\n",
            "  - waits for: the executor that sends\n    work to Celery\n",
        ] {
            assert_eq!(faults_of(item, SOURCE), Vec::<String>::new(), "{item}");
        }
    }

    #[test]
    fn a_rule_without_a_proof_and_a_proof_that_is_not_there_are_found() {
        for (item, source, expected) in [
            ("", SOURCE, "R1: no test is named"),
            (
                "  - `reuse::r1_a_hti`\n",
                SOURCE,
                "no test `r1_a_hti` in a file of `reuse`",
            ),
            (
                "  - `state::r1_a_hit`\n",
                SOURCE,
                "no test `r1_a_hit` in a file of `state`",
            ),
            ("  - `reuse::helper`\n", "fn helper() {}", "no test `helper`"),
            (
                "  - `reuse::r1_a_hit`\n",
                "#[test]\n#[ignore = \"slow\"]\nfn r1_a_hit() {}",
                "is ignored",
            ),
            (
                "  - contract: 2.1 a hit is no hit\n",
                SOURCE,
                "no check `2.1 a hit is no hit`",
            ),
            ("  - waits for:\n", SOURCE, "gives no reason"),
            ("  - r1_a_hit\n", SOURCE, "is no test, no check and no reason"),
        ] {
            let faults = faults_of(item, source);
            assert!(faults.len() == 1 && faults[0].contains(expected), "{item}: {faults:?}");
        }
    }

    #[test]
    fn a_test_named_for_a_rule_that_is_not_there_is_found() {
        let proof = "  - `reuse::r1_a_hit`\n";
        for more in [
            "#[test]\nfn r1_r9_a_miss() {}",
            "/// It keeps R9.\n#[test]\nfn a_miss() {}",
        ] {
            let faults = faults_of(proof, &format!("{SOURCE}{more}"));
            assert!(
                faults.len() == 1 && faults[0].contains("R9, which is no rule"),
                "{faults:?}"
            );
        }
        for more in [
            "fn r9_helper() {}",
            "#[test]\nfn n8n_is_asked() {}",
            "#[test]\nfn r1_200_at_once() {}",
        ] {
            assert_eq!(
                faults_of(proof, &format!("{SOURCE}{more}")),
                Vec::<String>::new(),
                "{more}"
            );
        }
    }

    #[test]
    fn a_rule_that_is_missing_twice_there_or_without_a_sentence_is_found() {
        let tree = SourceTree::made_up(&[]);
        let expected = BTreeSet::from(["R1".to_owned(), "R2".to_owned()]);
        let reason = "\n  - waits for: what is not there\n";
        for (document, fault) in [
            (format!("- **R1** {SENTENCE}{reason}"), "R2: it is not in the document"),
            (
                format!("- **R1** {SENTENCE}{reason}- **R2** A hit.{reason}"),
                "R2: it has no sentence",
            ),
            (
                format!("- **R1** {SENTENCE}{reason}").repeat(2) + &format!("- **R2** {SENTENCE}{reason}"),
                "R1: it stands there twice",
            ),
        ] {
            assert_eq!(find_faults(&document, &expected, &tree), [fault]);
        }
    }
}
