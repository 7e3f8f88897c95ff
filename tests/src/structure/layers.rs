//! Compares what modules name with the tables in the parent module.

use std::collections::{BTreeMap, BTreeSet};

use super::sources::{Names, SourceModule, SourceTree};

/// The modules of a crate or of a module, from the lowest to the highest: each may name those before it.
pub struct LayerOrder {
    /// What the modules lie in, as `daemon` or `tui::update`.
    pub within: &'static str,
    /// A name with `::` is a part of a module with a separate place.
    pub modules: &'static [&'static str],
    /// Arrows that still go up, from a module to one that stands after it. Nothing may be added.
    pub backward: &'static [(&'static str, &'static str)],
}

/// A border that no name may cross.
pub struct Border {
    /// The module that must not see, with all that lies below it.
    pub from: &'static str,
    /// What it must not see.
    pub hidden: &'static [&'static str],
    /// Parts of the hidden that it may see.
    pub open: &'static [&'static str],
    /// Fields by which it would reach there without a name.
    pub fields: &'static [&'static str],
    /// Where it is still crossed: a module, and what it names or the field with a dot before it. Nothing may be added.
    pub crossed: &'static [(&'static str, &'static str)],
}

/// Modules beside one another that must not see each other.
pub struct Siblings {
    pub within: &'static str,
    pub modules: &'static [&'static str],
    /// Who still sees whom. Nothing may be added.
    pub crossed: &'static [(&'static str, &'static str)],
}

fn names(path: &str) -> Names {
    path.split("::").map(str::to_owned).collect()
}

/// The names of `path` below a module.
fn below(path: &[String], module: &str) -> Option<Vec<String>> {
    path.strip_prefix(names(module).as_slice()).map(<[String]>::to_vec)
}

/// A path without what lies in a type: its variants and functions.
fn up_to_type(path: &[String]) -> &[String] {
    let is_type = |name: &String| name.starts_with(|first: char| first.is_ascii_uppercase());
    let end = path.iter().position(is_type).map_or(path.len(), |index| index + 1);
    &path[..end]
}

/// What is found and not listed, and what is listed and not found any more.
fn compare(found: &BTreeMap<(String, String), String>, listed: &[(&str, &str)], list: &str, faults: &mut Vec<String>) {
    let listed: BTreeSet<(String, String)> = listed
        .iter()
        .map(|(from, to)| ((*from).to_owned(), (*to).to_owned()))
        .collect();
    for (arrow, why) in found.iter().filter(|(arrow, _)| !listed.contains(arrow)) {
        faults.push(format!("{why}  {arrow:?},"));
    }
    for arrow in listed.iter().filter(|arrow| !found.contains_key(arrow)) {
        faults.push(format!("{arrow:?} is not there any more: take it off `{list}`"));
    }
}

/// Finds the arrows that go up in an order and are not listed, and what the order does not know.
pub fn find_backward_arrows(modules: &[SourceModule], order: &LayerOrder) -> Vec<String> {
    let mut faults = Vec::new();
    let place = |path: &[String]| {
        let path = below(path, order.within)?;
        let fitting = order
            .modules
            .iter()
            .enumerate()
            .filter(|(_, module)| path.starts_with(&names(module)));
        fitting.max_by_key(|(_, module)| module.len())
    };
    let inside: Vec<_> = modules
        .iter()
        .filter(|module| below(&module.path, order.within).is_some())
        .collect();
    for module in &inside {
        // The parent puts its modules together, a program the crates.
        let is_parent = module.path == names(order.within) || module.path.last().is_some_and(|name| name == "main");
        if !is_parent && place(&module.path).is_none() {
            faults.push(format!(
                "{} stands nowhere in the order of {}",
                module.path.join("::"),
                order.within
            ));
        }
    }
    for listed in order.modules {
        let path: Names = names(order.within).into_iter().chain(names(listed)).collect();
        if !inside.iter().any(|module| module.path == path) {
            faults.push(format!(
                "the order of {} lists {listed}, which is not there any more",
                order.within
            ));
        }
    }
    let mut found = BTreeMap::new();
    for module in &inside {
        let Some((from, user)) = place(&module.path) else {
            continue;
        };
        for path in &module.named {
            if let Some((to, used)) = place(path)
                && to > from
            {
                let why = format!(
                    "{} ({user}) names {}, and {used} stands above it",
                    module.file,
                    path.join("::")
                );
                found.insert(((*user).to_owned(), (*used).to_owned()), why);
            }
        }
    }
    compare(&found, order.backward, "backward", &mut faults);
    faults
}

/// Finds where a border is crossed and that is not listed.
pub fn find_crossings(modules: &[SourceModule], border: &Border) -> Vec<String> {
    let is_in = |path: &[String], some: &[&str]| some.iter().any(|module| below(path, module).is_some());
    let mut found = BTreeMap::new();
    for module in modules
        .iter()
        .filter(|module| below(&module.path, border.from).is_some())
    {
        let here = module.path.join("::");
        for path in module
            .named
            .iter()
            .filter(|path| is_in(path, border.hidden) && !is_in(path, border.open))
        {
            let path = up_to_type(path).join("::");
            let why = format!("{} must not name {path}", module.file);
            found.insert((here.clone(), path), why);
        }
        for field in border.fields.iter().filter(|field| module.fields.contains(**field)) {
            let why = format!("{} must not reach into a field `{field}`", module.file);
            found.insert((here.clone(), format!(".{field}")), why);
        }
    }
    let mut faults = Vec::new();
    if !modules.iter().any(|module| module.path == names(border.from)) {
        faults.push(format!("{} is not there any more", border.from));
    }
    compare(&found, border.crossed, "crossed", &mut faults);
    faults
}

/// Finds which siblings see each other without being listed.
pub fn find_calls_between(modules: &[SourceModule], siblings: &Siblings) -> Vec<String> {
    let sibling = |path: &[String]| {
        let path = below(path, siblings.within)?;
        siblings
            .modules
            .iter()
            .find(|module| path.first().is_some_and(|first| first == *module))
    };
    let mut found = BTreeMap::new();
    for module in modules {
        let Some(from) = sibling(&module.path) else { continue };
        for to in module
            .named
            .iter()
            .filter_map(|path| sibling(path))
            .filter(|to| *to != from)
        {
            let why = format!("{} must not see {to}", module.file);
            found.insert(((*from).to_owned(), (*to).to_owned()), why);
        }
    }
    let mut faults = Vec::new();
    for name in siblings.modules {
        let path: Names = names(siblings.within).into_iter().chain(names(name)).collect();
        if !modules.iter().any(|module| module.path == path) {
            faults.push(format!("{} is not there any more", path.join("::")));
        }
    }
    compare(&found, siblings.crossed, "crossed", &mut faults);
    faults
}

/// Finds crates whose dependencies in the workspace are not those of the table.
pub fn find_other_dependencies(tree: &SourceTree, allowed: &[(&str, &[&str])]) -> Vec<String> {
    let mut faults = Vec::new();
    let found = tree.dependencies();
    for (folder, uses) in &found {
        let Some((_, allowed)) = allowed.iter().find(|(known, _)| known == folder) else {
            faults.push(format!("the table has no row for the crate {folder}"));
            continue;
        };
        for other in uses.iter().filter(|other| !allowed.contains(&other.as_str())) {
            faults.push(format!("{folder} must not be built with {other}"));
        }
        for other in allowed.iter().filter(|other| !uses.contains(**other)) {
            faults.push(format!("{folder} is not built with {other}: take it out of its row"));
        }
    }
    for (folder, _) in allowed.iter().filter(|(folder, _)| !found.contains_key(*folder)) {
        faults.push(format!("{folder} is not there any more"));
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::{super::sources::*, *};

    #[test]
    fn a_crate_that_is_built_with_another_than_its_row_says_is_found() {
        let tree = SourceTree::made_up(&[
            ("daemon/store/Cargo.toml", "[package]\nname = 'onceover-store'"),
            (
                "daemon/nodes/Cargo.toml",
                "[package]\nname = 'onceover-nodes'\n[dependencies]\nserde = '1'\nonceover-store.workspace = true\n\
                 [dev-dependencies]\nonceover-nodes = { path = '.' }",
            ),
        ]);
        let rows: [(&str, &[&str]); 2] = [("daemon/store", &[]), ("daemon/nodes", &["daemon/store"])];
        assert_eq!(find_other_dependencies(&tree, &rows), Vec::<String>::new());
        let rows: [(&str, &[&str]); 2] = [("daemon/store", &["daemon/nodes"]), ("daemon/nodes", &[])];
        assert_eq!(
            find_other_dependencies(&tree, &rows),
            [
                "daemon/nodes must not be built with daemon/store",
                "daemon/store is not built with daemon/nodes: take it out of its row",
            ]
        );
        let rows: [(&str, &[&str]); 2] = [("daemon/store", &[]), ("daemon/run", &[])];
        assert_eq!(
            find_other_dependencies(&tree, &rows),
            [
                "the table has no row for the crate daemon/nodes",
                "daemon/run is not there any more"
            ]
        );
    }

    /// A crate `daemon` with some modules.
    fn daemon(files: &[(&str, &str)]) -> Vec<SourceModule> {
        let declared: String = files.iter().map(|(name, _)| format!("pub mod {name};\n")).collect();
        let mut tree = vec![
            (
                "daemon/Cargo.toml".to_owned(),
                "[package]\nname = 'onceover-daemon'".to_owned(),
            ),
            ("daemon/src/lib.rs".to_owned(), declared),
        ];
        tree.extend(
            files
                .iter()
                .map(|(name, text)| (format!("daemon/src/{name}.rs"), (*text).to_owned())),
        );
        let tree: Vec<_> = tree.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
        read_modules(&SourceTree::made_up(&tree), &[])
    }

    fn order(modules: &'static [&'static str], backward: &'static [(&'static str, &'static str)]) -> LayerOrder {
        LayerOrder {
            within: "daemon",
            modules,
            backward,
        }
    }

    #[test]
    fn an_arrow_up_is_found_and_one_down_is_not() {
        let modules = daemon(&[("store", "use crate::api::Page;"), ("api", "use crate::store::Store;")]);
        let faults = find_backward_arrows(&modules, &order(&["store", "api"], &[]));
        assert_eq!(faults.len(), 1, "{faults:?}");
        assert!(
            faults[0].contains("daemon/src/store.rs (store) names daemon::api::Page"),
            "{faults:?}"
        );
    }

    #[test]
    fn a_listed_arrow_passes_and_must_go_from_the_list_with_its_cause() {
        let listed = order(&["store", "api"], &[("store", "api")]);
        assert!(find_backward_arrows(&daemon(&[("store", "use crate::api::Page;"), ("api", "")]), &listed).is_empty());
        let faults = find_backward_arrows(&daemon(&[("store", ""), ("api", "")]), &listed);
        assert_eq!(
            faults,
            [r#"("store", "api") is not there any more: take it off `backward`"#]
        );
    }

    #[test]
    fn a_module_that_the_order_does_not_know_is_found_and_one_that_went() {
        let faults = find_backward_arrows(&daemon(&[("store", ""), ("new", "")]), &order(&["store", "old"], &[]));
        assert_eq!(faults.len(), 2, "{faults:?}");
        assert!(faults[0].contains("daemon::new stands nowhere"), "{faults:?}");
        assert!(faults[1].contains("lists old"), "{faults:?}");
    }

    #[test]
    fn a_part_of_a_module_can_stand_below_its_rest() {
        let texts = [
            ("executor", "pub mod run { }\nuse crate::nodes;"),
            ("nodes", "use crate::executor::run::A;"),
        ];
        let parted = order(&["executor::run", "nodes", "executor"], &[]);
        assert_eq!(find_backward_arrows(&daemon(&texts), &parted), Vec::<String>::new());
        let whole = order(&["nodes", "executor"], &[]);
        assert_eq!(find_backward_arrows(&daemon(&texts), &whole).len(), 1);
    }

    const BORDER: Border = Border {
        from: "daemon::api",
        hidden: &["daemon::store"],
        open: &["daemon::store::names"],
        fields: &["store"],
        crossed: &[],
    };

    #[test]
    fn a_name_and_a_field_that_cross_a_border_are_found() {
        let crossing = daemon(&[
            ("api", "use crate::store::Store; fn f(e: E) { e.store.read() }"),
            ("store", ""),
        ]);
        let faults = find_crossings(&crossing, &BORDER);
        assert_eq!(faults.len(), 2, "{faults:?}");
        let listed = &[("daemon::api", ".store"), ("daemon::api", "daemon::store::Store")];
        assert!(
            find_crossings(
                &crossing,
                &Border {
                    crossed: listed,
                    ..BORDER
                }
            )
            .is_empty()
        );
        let sound = daemon(&[("api", "use crate::store::names::Name;"), ("store", "")]);
        assert!(find_crossings(&sound, &BORDER).is_empty());
        assert_eq!(
            find_crossings(
                &sound,
                &Border {
                    crossed: listed,
                    ..BORDER
                }
            )
            .len(),
            2
        );
    }

    #[test]
    fn siblings_that_see_each_other_are_found() {
        let modules = daemon(&[
            ("videos", "use super::nodes;"),
            ("nodes", ""),
            ("keys", "use crate::{videos, nodes};"),
        ]);
        let siblings = Siblings {
            within: "daemon",
            modules: &["nodes", "videos"],
            crossed: &[],
        };
        let faults = find_calls_between(&modules, &siblings);
        assert_eq!(
            faults,
            [r#"daemon/src/videos.rs must not see nodes  ("videos", "nodes"),"#]
        );
        let listed = &[("videos", "nodes")];
        assert!(
            find_calls_between(
                &modules,
                &Siblings {
                    crossed: listed,
                    ..siblings
                }
            )
            .is_empty()
        );
    }
}
