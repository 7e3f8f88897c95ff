//! Finds names that two types of the workspace have.

use std::collections::BTreeMap;

use super::sources::SourceModule;

/// Finds the names of types that more than one module defines for others, as often as they are not listed; and what is
/// listed with another number than there is.
pub fn find_types_defined_twice(modules: &[SourceModule], listed: &[(&str, usize)]) -> Vec<String> {
    let mut files: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for module in modules {
        for name in &module.types {
            files.entry(name.as_str()).or_default().push(&module.file);
        }
    }
    let listed: BTreeMap<&str, usize> = listed.iter().copied().collect();
    let mut faults = Vec::new();
    for (name, files) in files.iter().filter(|(_, files)| files.len() > 1) {
        if listed.get(name) != Some(&files.len()) {
            faults.push(format!(
                "{name} is defined {} times, in {}  ({name:?}, {}),",
                files.len(),
                files.join(", "),
                files.len()
            ));
        }
    }
    for name in listed
        .keys()
        .filter(|name| files.get(**name).is_none_or(|files| files.len() < 2))
    {
        faults.push(format!("{name} is defined once by now: take it off the list"));
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::{super::sources::*, *};

    fn modules(api: &str, store: &str) -> Vec<SourceModule> {
        read_modules(
            &SourceTree::made_up(&[
                ("daemon/Cargo.toml", "[package]\nname = 'onceover-daemon'"),
                ("daemon/src/lib.rs", "mod api; mod store;"),
                ("daemon/src/api.rs", api),
                ("daemon/src/store.rs", store),
            ]),
            &[],
        )
    }

    #[test]
    fn a_name_that_two_files_define_for_others_is_found() {
        let faults = find_types_defined_twice(&modules("pub struct Ended;", "pub(crate) enum Ended { A }"), &[]);
        assert_eq!(faults.len(), 1, "{faults:?}");
        assert!(
            faults[0].contains("daemon/src/api.rs, daemon/src/store.rs"),
            "{faults:?}"
        );
    }

    #[test]
    fn a_name_that_is_private_to_its_file_may_be_there_again() {
        let faults = find_types_defined_twice(&modules("pub struct Ended;", "struct Ended;"), &[]);
        assert_eq!(faults, Vec::<String>::new());
    }

    #[test]
    fn a_listed_name_may_neither_be_defined_more_often_nor_stay_listed() {
        let twice = modules("pub struct Ended;", "pub struct Ended;");
        assert_eq!(find_types_defined_twice(&twice, &[("Ended", 2)]), Vec::<String>::new());
        let thrice = modules(
            "pub struct Ended;",
            "pub struct Ended; pub mod inner { pub struct Ended; }",
        );
        assert_eq!(find_types_defined_twice(&thrice, &[("Ended", 2)]).len(), 1);
        let once = modules("pub struct Ended;", "");
        assert_eq!(find_types_defined_twice(&once, &[("Ended", 2)]).len(), 1);
    }
}
