//! Reads Rust sources the way the compiler reaches them: from the root of a crate along its `mod` declarations. What
//! is built for tests alone (`#[cfg(test)]`) is left out. It reads tokens, not types: it knows which paths a file names
//! and which types it defines, and nothing about methods or fields beyond their names.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};

/// The folder that holds the workspace.
pub fn workspace_root() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().expect("the tests lie in a workspace").to_owned()
}

/// The texts of Rust and Python files and of `Cargo.toml`, by their path from the workspace's root.
#[derive(Default)]
pub struct SourceTree(BTreeMap<String, String>);

impl SourceTree {
    /// Reads the files below a folder, build folders and hidden folders left out.
    pub fn read(root: &Path) -> Self {
        let mut tree = Self::default();
        tree.add_folder(root, "");
        tree
    }

    /// A tree that a test makes up.
    pub fn made_up(files: &[(&str, &str)]) -> Self {
        Self(
            files
                .iter()
                .map(|(path, text)| ((*path).to_owned(), (*text).to_owned()))
                .collect(),
        )
    }

    fn add_folder(&mut self, folder: &Path, path: &str) {
        for entry in fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
            let entry = entry.expect("an entry of a folder can be read");
            let Ok(name) = entry.file_name().into_string() else {
                continue;
            };
            let inner = if path.is_empty() {
                name.clone()
            } else {
                format!("{path}/{name}")
            };
            let kind = entry.file_type().expect("an entry has a type");
            if kind.is_dir() {
                if name != "target" && !name.starts_with('.') && !inner.starts_with("tests/fuzz/corpus") {
                    self.add_folder(&entry.path(), &inner);
                }
            } else if kind.is_file() && (name.ends_with(".rs") || name.ends_with(".py") || name == "Cargo.toml") {
                let text = fs::read_to_string(entry.path()).unwrap_or_else(|error| panic!("{inner}: {error}"));
                self.0.insert(inner, text);
            }
        }
    }

    /// Each file and its text.
    pub fn files(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(path, text)| (path.as_str(), text.as_str()))
    }

    /// The folder of each crate, by the name that code calls the crate.
    fn crates(&self) -> BTreeMap<String, String> {
        let manifests = self
            .0
            .iter()
            .filter_map(|(path, text)| Some((path.strip_suffix("/Cargo.toml")?, text)));
        manifests
            .filter_map(|(folder, text)| {
                let manifest: toml::Table = toml::from_str(text).unwrap_or_else(|error| panic!("{folder}: {error}"));
                let name = manifest.get("package")?.get("name")?.as_str()?;
                Some((name.replace('-', "_"), folder.to_owned()))
            })
            .collect()
    }

    /// The crates of the workspace that each crate is built with, tests left out; all by their folders.
    pub fn dependencies(&self) -> BTreeMap<String, BTreeSet<String>> {
        let crates = self.crates();
        let of_crate = |folder: &String| {
            let manifest = self
                .0
                .get(&format!("{folder}/Cargo.toml"))
                .expect("a crate has a manifest");
            let manifest: toml::Table = toml::from_str(manifest).unwrap_or_else(|error| panic!("{folder}: {error}"));
            let names = manifest.get("dependencies").and_then(toml::Value::as_table);
            let names = names.into_iter().flat_map(toml::Table::keys);
            names
                .filter_map(|name| crates.get(&name.replace('-', "_")))
                .cloned()
                .collect()
        };
        crates
            .values()
            .map(|folder| (folder.clone(), of_crate(folder)))
            .collect()
    }
}

/// A path of names that begins with the folder of a crate: `daemon`, `store`, `Store`.
pub type Names = Vec<String>;

/// One module, with what its code outside tests names and defines.
#[derive(Default)]
pub struct SourceModule {
    pub file: String,
    pub path: Names,
    /// What it names in the workspace.
    pub named: BTreeSet<Names>,
    /// The types it defines for more than itself.
    pub types: Vec<String>,
    /// The fields it reaches into (`.store`), calls of methods left out.
    pub fields: BTreeSet<String>,
    /// What `use` brings in, by the name it has here.
    uses: BTreeMap<String, Names>,
    /// Paths of two names and more as they are written.
    written: BTreeSet<Names>,
}

/// The library and the programs of each crate whose folder is named; of all crates if none is.
pub fn read_modules(tree: &SourceTree, folders: &[&str]) -> Vec<SourceModule> {
    let crates = tree.crates();
    let mut modules = Vec::new();
    for folder in crates
        .values()
        .filter(|folder| folders.is_empty() || folders.contains(&folder.as_str()))
    {
        for (root, path) in [
            ("lib", vec![folder.clone()]),
            ("main", vec![folder.clone(), "main".to_owned()]),
        ] {
            let file = format!("{folder}/src/{root}.rs");
            if tree.0.contains_key(&file) {
                let mut reader = Reader {
                    tree,
                    crates: &crates,
                    root: path.clone(),
                    modules: Vec::new(),
                };
                reader.read_file(&file, path);
                modules.extend(reader.resolved());
            }
        }
    }
    modules
}

/// Reads the modules of one crate.
struct Reader<'a> {
    tree: &'a SourceTree,
    crates: &'a BTreeMap<String, String>,
    root: Names,
    modules: Vec<SourceModule>,
}

impl Reader<'_> {
    fn read_file(&mut self, file: &str, path: Names) {
        let text = self
            .tree
            .0
            .get(file)
            .unwrap_or_else(|| panic!("{file} is declared as a module and is not there"));
        let tokens: TokenStream = text.parse().unwrap_or_else(|error| panic!("{file}: {error}"));
        let stem = file.strip_suffix(".rs").expect("a Rust file");
        let (folder, name) = stem.rsplit_once('/').expect("a file of a crate");
        let children = if ["lib", "main", "mod"].contains(&name) {
            folder
        } else {
            stem
        };
        self.read_module(file, children, path, tokens);
    }

    /// `children` is the folder of the modules that it declares.
    fn read_module(&mut self, file: &str, children: &str, path: Names, tokens: TokenStream) {
        let mut module = SourceModule {
            file: file.to_owned(),
            path,
            ..SourceModule::default()
        };
        self.read_tokens(&mut module, children, tokens);
        self.modules.push(module);
    }

    fn read_tokens(&mut self, module: &mut SourceModule, children: &str, tokens: TokenStream) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        let mut at = 0;
        while at < tokens.len() {
            if let Some(attribute) = attribute(&tokens[at..]) {
                at = if attribute.is_test {
                    end_of_item(&tokens, at)
                } else {
                    at + attribute.length
                };
                continue;
            }
            at += match &tokens[at] {
                TokenTree::Group(group) => {
                    self.read_tokens(module, children, group.stream());
                    1
                }
                TokenTree::Ident(word) => self.read_word(module, children, &tokens, at, &word.to_string()),
                _ => 1,
            };
        }
    }

    /// Reads what begins with a word; returns how many tokens that are.
    fn read_word(
        &mut self,
        module: &mut SourceModule,
        children: &str,
        tokens: &[TokenTree],
        at: usize,
        word: &str,
    ) -> usize {
        match (word, tokens.get(at + 1)) {
            ("use", Some(next)) if !is_punct(next, '<') => {
                let length = tokens[at..].iter().take_while(|token| !is_punct(token, ';')).count();
                read_use_tree(&tokens[at + 1..at + length], &[], &mut module.uses, &mut module.written);
                length
            }
            ("mod", Some(TokenTree::Ident(name))) => {
                self.read_declared_module(module, children, &name.to_string(), tokens.get(at + 2));
                // The braces of an inline module are its own.
                3
            }
            ("struct" | "enum" | "union" | "trait" | "type", Some(TokenTree::Ident(name))) => {
                if is_public(&tokens[..at]) {
                    module.types.push(name.to_string());
                }
                2
            }
            _ => {
                let before = &tokens[..at];
                let is_field = matches!(before, [.., dot] if is_punct(dot, '.'))
                    && !matches!(before, [.., first, second] if is_punct(first, '.') && is_punct(second, '.'));
                let names = path_at(&tokens[at..]);
                if !is_field && names.len() > 1 {
                    module.written.insert(names.clone());
                } else if is_field && !is_call(&tokens[at + 1..]) {
                    module.fields.insert(word.to_owned());
                }
                // A name, and `::` with a name for each that follows.
                names.len() * 3 - 2
            }
        }
    }

    fn read_declared_module(&mut self, module: &SourceModule, children: &str, name: &str, then: Option<&TokenTree>) {
        let path: Names = module.path.iter().cloned().chain([name.to_owned()]).collect();
        match then {
            Some(TokenTree::Group(body)) => {
                self.read_module(&module.file, &format!("{children}/{name}"), path, body.stream());
            }
            _ => {
                let files = [format!("{children}/{name}.rs"), format!("{children}/{name}/mod.rs")];
                let file = files.iter().find(|file| self.tree.0.contains_key(*file));
                let file = file.unwrap_or_else(|| panic!("{}: module {name} has no file", module.file));
                self.read_file(file, path);
            }
        }
    }

    /// The modules, with what they name as paths that begin with a crate's folder.
    fn resolved(mut self) -> Vec<SourceModule> {
        let paths: BTreeSet<Names> = self.modules.iter().map(|module| module.path.clone()).collect();
        let root = self
            .modules
            .iter()
            .find(|module| module.path == self.root)
            .expect("a crate has a root");
        let root_uses = root.uses.clone();
        for index in 0..self.modules.len() {
            let module = &self.modules[index];
            let named = module
                .written
                .iter()
                .filter_map(|names| self.resolve(module, names, &paths, &root_uses));
            self.modules[index].named = named.collect();
        }
        self.modules
    }

    /// The whole path of what a module calls `names`; `None` if that is outside the workspace or is not known.
    fn resolve(
        &self,
        module: &SourceModule,
        names: &[String],
        modules: &BTreeSet<Names>,
        root_uses: &BTreeMap<String, Names>,
    ) -> Option<Names> {
        let mut names = names.to_vec();
        // A name that `use` brought in stands for its path.
        if let Some(path) = module.uses.get(&names[0]).filter(|path| path[0] != names[0]) {
            names.splice(0..1, path.iter().cloned());
        }
        let mut whole = match names[0].as_str() {
            "crate" => self.root.clone(),
            "self" => module.path.clone(),
            "super" => {
                let ups = names.iter().take_while(|name| *name == "super").count();
                names.drain(1..ups);
                module.path[..module.path.len().checked_sub(ups)?].to_vec()
            }
            first => match self.crates.get(first) {
                Some(folder) => vec![folder.clone()],
                None => {
                    let child: Names = module.path.iter().chain([&names[0]]).cloned().collect();
                    if !modules.contains(&child) {
                        return None;
                    }
                    names.insert(0, "self".to_owned());
                    module.path.clone()
                }
            },
        };
        whole.extend(names.drain(1..));
        // What a crate's root brings in from its modules stands for them.
        let is_root_name = whole.len() > self.root.len()
            && whole.starts_with(&self.root)
            && !modules.contains(&whole[..=self.root.len()]);
        if is_root_name
            && let Some(path) = root_uses.get(&whole[self.root.len()])
            && modules.contains(&[self.root.as_slice(), &path[..1]].concat())
        {
            whole.splice(self.root.len()..=self.root.len(), path.iter().cloned());
        }
        Some(whole)
    }
}

fn is_punct(token: &TokenTree, char: char) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == char)
}

struct Attribute {
    length: usize,
    is_test: bool,
}

/// The attribute that tokens begin with.
fn attribute(tokens: &[TokenTree]) -> Option<Attribute> {
    let is_bracket = |group: &Group| group.delimiter() == Delimiter::Bracket;
    match tokens {
        [hash, TokenTree::Group(group), ..] if is_punct(hash, '#') && is_bracket(group) => Some(Attribute {
            length: 2,
            is_test: is_cfg_test(group),
        }),
        [hash, bang, TokenTree::Group(group), ..]
            if is_punct(hash, '#') && is_punct(bang, '!') && is_bracket(group) =>
        {
            Some(Attribute {
                length: 3,
                is_test: false,
            })
        }
        _ => None,
    }
}

fn is_cfg_test(attribute: &Group) -> bool {
    let first = attribute.stream().into_iter().next();
    if !matches!(first, Some(TokenTree::Ident(word)) if word == "cfg") {
        return false;
    }
    let text: String = attribute.stream().to_string().split_whitespace().collect();
    text == "cfg(test)" || text.starts_with("cfg(all(test,")
}

/// Where the item that begins with attributes ends.
fn end_of_item(tokens: &[TokenTree], mut at: usize) -> usize {
    while let Some(attribute) = attribute(&tokens[at..]) {
        at += attribute.length;
    }
    let words: Vec<String> = tokens[at..]
        .iter()
        .filter(|token| !matches!(token, TokenTree::Group(_) | TokenTree::Literal(_)))
        .map_while(|token| matches!(token, TokenTree::Ident(_)).then(|| token.to_string()))
        .collect();
    let has = |some: &[&str]| words.iter().any(|word| some.contains(&word.as_str()));
    let has_body = has(&["fn", "mod", "impl", "struct", "enum", "trait", "union", "macro_rules"]);
    let is_item = has_body || has(&["use", "static", "const", "type", "let", "extern"]);
    for (index, token) in tokens.iter().enumerate().skip(at) {
        let is_body = matches!(token, TokenTree::Group(group) if group.delimiter() == Delimiter::Brace);
        let is_end = is_punct(token, ';') || is_body && (has_body || !is_item) || !is_item && is_punct(token, ',');
        if is_end {
            return index + 1;
        }
    }
    tokens.len()
}

/// Whether what these tokens stand before is there for more than its own module.
fn is_public(before: &[TokenTree]) -> bool {
    match before {
        [rest @ .., TokenTree::Ident(word)] if word == "unsafe" => is_public(rest),
        [.., TokenTree::Ident(word)] => word == "pub",
        [.., TokenTree::Ident(word), TokenTree::Group(group)] => {
            word == "pub" && group.delimiter() == Delimiter::Parenthesis && group.stream().to_string().trim() != "self"
        }
        _ => false,
    }
}

/// Whether arguments follow a name.
fn is_call(after: &[TokenTree]) -> bool {
    matches!(after, [TokenTree::Group(group), ..] if group.delimiter() == Delimiter::Parenthesis)
}

/// Whether two colons stand there, and a name after them.
fn next_name(tokens: &[TokenTree]) -> Option<String> {
    match tokens {
        [first, second, TokenTree::Ident(name), ..] if is_punct(first, ':') && is_punct(second, ':') => {
            Some(name.to_string())
        }
        _ => None,
    }
}

/// The path that tokens begin with: names with `::` between them.
fn path_at(tokens: &[TokenTree]) -> Names {
    let mut names = vec![tokens[0].to_string()];
    while let Some(name) = tokens.get(names.len() * 3 - 2..).and_then(next_name) {
        names.push(name);
    }
    names
}

/// Reads `a::{b, c::d as e}` below a prefix.
fn read_use_tree(
    tokens: &[TokenTree],
    prefix: &[String],
    uses: &mut BTreeMap<String, Names>,
    written: &mut BTreeSet<Names>,
) {
    // Nothing follows a last comma.
    for part in tokens
        .split(|token| is_punct(token, ','))
        .filter(|part| !part.is_empty())
    {
        let mut path = prefix.to_vec();
        let mut known_as = None;
        let mut tokens = part.iter();
        while let Some(token) = tokens.next() {
            match token {
                TokenTree::Ident(word) if word == "as" => known_as = tokens.next().map(ToString::to_string),
                TokenTree::Ident(word) if word == "self" && !path.is_empty() => {}
                TokenTree::Ident(word) => path.push(word.to_string()),
                TokenTree::Group(group) => {
                    let inner: Vec<TokenTree> = group.stream().into_iter().collect();
                    read_use_tree(&inner, &path, uses, written);
                    path.clear();
                }
                _ => {}
            }
        }
        if let Some(last) = path.last() {
            uses.insert(known_as.unwrap_or_else(|| last.clone()), path.clone());
            written.insert(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn modules(text: &str) -> Vec<SourceModule> {
        let tree = SourceTree::made_up(&[
            ("common/Cargo.toml", "[package]\nname = 'onceover-common'"),
            ("common/src/lib.rs", ""),
            ("daemon/Cargo.toml", "[package]\nname = 'onceover-daemon'"),
            (
                "daemon/src/lib.rs",
                "pub mod engine;\nmod store;\npub use store::Store;",
            ),
            ("daemon/src/store/mod.rs", "mod inner;\npub struct Store;"),
            ("daemon/src/store/inner.rs", ""),
            ("daemon/src/engine.rs", text),
            ("daemon/src/engine/part.rs", ""),
        ]);
        read_modules(&tree, &["daemon"])
    }

    fn named(text: &str) -> Vec<String> {
        let modules = modules(text);
        let engine = modules
            .iter()
            .find(|module| module.path == ["daemon", "engine"])
            .unwrap();
        engine.named.iter().map(|names| names.join("::")).collect()
    }

    #[test]
    fn each_way_to_name_a_module_is_read() {
        for (text, expected) in [
            (
                "use crate::store::{Store, inner};",
                "daemon::store::Store daemon::store::inner",
            ),
            (
                "use crate::{store::{self, inner as i,},};",
                "daemon::store daemon::store::inner",
            ),
            ("fn f() { super::store::g() }", "daemon::store::g"),
            (
                "fn f() { w!(a, [crate::store::inner::g()]) }",
                "daemon::store::inner::g",
            ),
            (
                "use super::store; fn f() { store::inner::g() }",
                "daemon::store daemon::store::inner::g",
            ),
            ("use onceover_common::ids;", "common::ids"),
            ("mod part; fn f() { part::g() }", "daemon::engine::part::g"),
            ("use crate::Store;", "daemon::store::Store"),
            (
                "fn f() -> impl Iterator<Item = crate::store::A> + use<'_> {}",
                "daemon::store::A",
            ),
        ] {
            assert_eq!(named(text).join(" "), expected, "{text}");
        }
    }

    #[test]
    fn what_is_text_a_comment_or_for_tests_alone_is_not_read() {
        for text in [
            "// crate::store\n/// [`crate::store`]\nfn f() { \"crate::store\" }",
            "#[cfg(test)]\nuse crate::store::{Store};",
            "#[cfg(test)]\nmod tests { use crate::store; }",
            "#[cfg(test)]\n#[derive(Debug)]\npub(crate) struct A { b: crate::store::B }",
            "struct A { #[cfg(test)] b: crate::store::B, c: u8 }",
            "use std::{store::x};",
        ] {
            assert_eq!(named(text), Vec::<String>::new(), "{text}");
        }
        assert_eq!(
            named("#[cfg(test)]\nconst A: u8 = { 1 };\nuse crate::store;"),
            ["daemon::store"]
        );
    }

    #[test]
    fn types_for_others_and_fields_that_are_reached_into_are_known() {
        let modules = modules(
            "pub struct A; pub(super) enum B { X } struct C; pub(self) struct D; pub unsafe trait E {} pub type F = u8;\n\
             fn f(a: &A) { a.b.store.d(); a.store(1); 0..store }",
        );
        let engine = modules
            .iter()
            .find(|module| module.path.ends_with(&["engine".to_owned()]))
            .unwrap();
        assert_eq!(engine.types, ["A", "B", "E", "F"]);
        let fields: Vec<_> = engine.fields.iter().map(String::as_str).collect();
        assert_eq!(fields, ["b", "store"]);
    }
}
