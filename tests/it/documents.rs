//! The documents agree with the code and with each other: links lead somewhere, code that is quoted exists, and the folder of
//! examples holds the programs of the pages.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{clients, own_nodes};

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// The files that git knows, or would take, with this ending.
fn files_with(ending: &str) -> Vec<PathBuf> {
    let root = repository();
    let mut git = Command::new("git");
    git.args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(&root);
    let names = git.output().expect("git is installed").stdout;
    let names = String::from_utf8(names).unwrap();
    let paths = names
        .split('\0')
        .filter(|name| name.ends_with(ending))
        .map(|name| root.join(name));
    paths.filter(|path| path.is_file()).collect()
}

/// A page without its code, line by line, and the code: the language and text of each block, without the indentation
/// of its fence.
fn parts(page: &str) -> (Vec<&str>, Vec<(String, String)>) {
    let (mut prose, mut blocks) = (Vec::new(), Vec::new());
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        let Some(language) = line.trim_start().strip_prefix("```") else {
            prose.push(line);
            continue;
        };
        let indent = line.len() - line.trim_start().len();
        let inside = lines.by_ref().take_while(|line| line.trim() != "```");
        let text: Vec<_> = inside.map(|line| line.get(indent..).unwrap_or_default()).collect();
        blocks.push((language.to_owned(), text.join("\n")));
    }
    (prose, blocks)
}

/// The anchors of a page, as GitHub makes them of its headings.
fn anchors(page: &str) -> BTreeSet<String> {
    let (prose, _) = parts(page);
    let headings = prose
        .iter()
        .filter(|line| line.starts_with('#'))
        .map(|line| line.trim_start_matches('#').trim());
    let kept = |c: &char| c.is_alphanumeric() || [' ', '-', '_'].contains(c);
    headings
        .map(|heading| {
            heading
                .to_lowercase()
                .chars()
                .filter(kept)
                .collect::<String>()
                .replace(' ', "-")
        })
        .collect()
}

/// Targets of the links of a page, web addresses left out.
fn links(page: &str) -> Vec<String> {
    let (prose, _) = parts(page);
    let mut links = Vec::new();
    for line in prose {
        for part in line.split("](").skip(1) {
            let target = part.split(')').next().unwrap_or_default();
            if !target.contains("://") && !target.starts_with("mailto:") {
                links.push(target.to_owned());
            }
        }
    }
    links
}

#[test]
fn each_link_of_the_documents_leads_to_a_file_and_heading() {
    let mut faults = Vec::new();
    // The heads of pages that are written elsewhere have the links of those pages.
    let heads = repository().join("tests/reference");
    for path in files_with(".md").into_iter().filter(|path| !path.starts_with(&heads)) {
        let page = fs::read_to_string(&path).unwrap();
        for link in links(&page) {
            let (file, anchor) = link.split_once('#').unwrap_or((&link, ""));
            let target = if file.is_empty() {
                path.clone()
            } else {
                path.parent().unwrap().join(file)
            };
            let is_known = || {
                let text = fs::read_to_string(&target).unwrap_or_default();
                target.extension().is_none_or(|ending| ending != "md") || anchors(&text).contains(anchor)
            };
            if !target.exists() || !anchor.is_empty() && !is_known() {
                faults.push(format!(
                    "{}: {link}",
                    path.strip_prefix(repository()).unwrap().display()
                ));
            }
        }
    }
    assert_eq!(faults, [""; 0], "links that lead nowhere");
}

#[test]
fn each_block_of_code_for_contributors_is_in_the_sources() {
    let page = fs::read_to_string(repository().join("docs/contributing.md")).unwrap();
    let sources: BTreeMap<&str, Vec<String>> = [("rust", ".rs"), ("lua", ".lua"), ("toml", ".toml")]
        .map(|(language, ending)| {
            let texts = files_with(ending)
                .into_iter()
                .map(|path| fs::read_to_string(path).unwrap());
            (language, texts.collect())
        })
        .into();
    let (_, blocks) = parts(&page);
    let mut count = 0;
    for (language, text) in blocks {
        let Some(sources) = sources.get(language.as_str()) else {
            continue;
        };
        assert!(
            sources.iter().any(|source| source.contains(text.as_str())),
            "docs/contributing.md quotes code that is in no .{language} file any more:\n{text}"
        );
        count += 1;
    }
    assert!(count >= 8, "only {count} blocks were found");
}

#[test]
fn the_examples_folder_has_the_programs_of_the_pages() {
    let folder = repository().join("docs/examples");
    let of_clients = clients::files()
        .into_iter()
        .map(|(name, text)| (format!("clients/{name}"), text));
    let of_nodes = own_nodes::files()
        .into_iter()
        .map(|(name, text)| (format!("nodes/{name}"), text));
    let wanted: BTreeMap<_, _> = of_clients.chain(of_nodes).collect();
    if std::env::var_os("ONCEOVER_EXAMPLES").is_some_and(|value| value == "write") {
        for (name, text) in &wanted {
            let path = folder.join(name);
            fs::write(&path, text).unwrap();
            let mode = if name.ends_with(".sh") { 0o755 } else { 0o644 };
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        }
    }
    let mut found = BTreeMap::new();
    for part in ["clients", "nodes"] {
        for entry in fs::read_dir(folder.join(part)).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(&folder).unwrap().display().to_string();
            let is_program = path.metadata().unwrap().permissions().mode() & 0o100 != 0;
            assert_eq!(
                is_program,
                name.ends_with(".sh"),
                "docs/examples/{name}: executable or not"
            );
            found.insert(name, fs::read_to_string(path).unwrap());
        }
    }
    assert!(
        found == wanted,
        "docs/examples differs from docs/clients.md and docs/writing-a-node.md: ONCEOVER_EXAMPLES=write cargo nextest run \
         --workspace -E 'test(examples_folder)'"
    );
}
