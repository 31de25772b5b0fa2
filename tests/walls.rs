//! The walls of the house that Cargo does not hold (ARCHITECTURE.md): which room of `src/` may import
//! which, that files do not import each other in a circle, and what is confined to one file.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The rooms of the extension, and which others each may import. lib.rs, entry.rs and install.rs wire
/// them and are imported by nobody.
const ROOMS: [(&str, &[&str]); 7] = [
    ("gucs", &[]),
    ("pg", &[]),
    ("catalog", &["pg"]),
    ("fdw", &["pg", "gucs"]),
    ("load", &["catalog", "fdw", "pg"]),
    ("worker", &["catalog", "fdw", "load", "pg", "gucs"]),
    ("api", &["catalog", "fdw", "load", "pg", "gucs"]),
];
const WIRING: [&str; 3] = ["lib", "entry", "install"];

/// What only some files may say.
const CONFINED: [(&str, &[&str]); 3] = [
    // What differs between versions of the server.
    ("feature = \"pg1", &["src/pg/compat.rs"]),
    // All statements go one way.
    ("Spi::", &["src/pg/spi.rs"]),
    // Of the crates, only Kafka's has unsafe code; the others forbid it.
    ("allow(unsafe_code)", &["src/lib.rs", "crates/kafka/src/native/mod.rs"]),
];

/// A source file without its comments and its test module, which ends it.
struct Source {
    /// As `src/pg/tx.rs` or `crates/model/src/job.rs`.
    path: String,
    code: String,
}

impl Source {
    fn read(root: &Path, path: &Path) -> Source {
        let text = fs::read_to_string(path).expect("a source file");
        let tests =
            |line: &&str| !line.starts_with("#[cfg(test)]") && !line.starts_with("#[cfg(any(test");
        let lines = text.lines().take_while(tests);
        let code =
            lines.map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>();
        let path = path.strip_prefix(root).expect("below the root").to_str().expect("UTF-8");
        Source { path: path.to_owned(), code: code.join("\n") }
    }

    /// The crate's `src` folder.
    fn crate_dir(&self) -> &str {
        let end = self.path.find("src/").expect("a crate's file") + "src/".len();
        &self.path[..end]
    }

    /// Path of its module in the crate: empty for the crate's own.
    fn module(&self) -> Vec<&str> {
        let inside = self.path[self.crate_dir().len()..].trim_end_matches(".rs");
        inside.split('/').filter(|part| !["mod", "lib"].contains(part)).collect()
    }

    /// The paths that it imports from its own crate, from the crate's root on.
    fn imports(&self) -> Vec<Vec<String>> {
        let mut found = vec![];
        let code = self.code.split_whitespace().collect::<Vec<_>>().join(" ");
        for (start, _) in code.match_indices("crate::").chain(code.match_indices("super::")) {
            let before = code[..start].chars().next_back();
            if before.is_some_and(|c| c.is_alphanumeric() || "_:$".contains(c)) {
                continue;
            }
            let (mut rest, mut path) = (&code[start..], vec![]);
            if let Some(after) = rest.strip_prefix("crate::") {
                rest = after;
            } else {
                path = self.module().into_iter().map(str::to_owned).collect();
                while let Some(after) = rest.strip_prefix("super::") {
                    path.pop();
                    rest = after;
                }
            }
            expand(rest, &path, &mut found);
        }
        found
    }
}

/// The paths of `a::b` or `{a, b::{c, d}}` below `base`.
fn expand(text: &str, base: &[String], found: &mut Vec<Vec<String>>) {
    let text = text.trim_start();
    if let Some(inner) = text.strip_prefix('{') {
        let (mut depth, mut start) = (0, 0);
        for (i, c) in inner.char_indices() {
            match c {
                '{' => depth += 1,
                '}' if depth > 0 => depth -= 1,
                ',' | '}' if depth == 0 => {
                    expand(&inner[start..i], base, found);
                    start = i + 1;
                    if c == '}' {
                        return;
                    }
                }
                _ => {}
            }
        }
        return;
    }
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    let mut path = base.to_vec();
    if end > 0 {
        path.push(text[..end].to_owned());
    }
    match text[end..].strip_prefix("::") {
        Some(rest) => expand(rest, &path, found),
        None => found.push(path),
    }
}

fn files(dir: &Path, found: &mut Vec<PathBuf>) {
    let entries = fs::read_dir(dir).expect("a folder").map(|entry| entry.expect("an entry").path());
    for path in entries {
        if path.is_dir() {
            files(&path, found);
        } else if path.extension().is_some_and(|end| end == "rs") && !path.ends_with("tests.rs") {
            found.push(path);
        }
    }
}

/// Those of the extension and of the crates that it is made of.
fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = vec![];
    for dir in
        ["src", "crates/format/src", "crates/kafka/src", "crates/model/src", "crates/registry/src"]
    {
        files(&root.join(dir), &mut found);
    }
    found.sort();
    found.iter().map(|path| Source::read(root, path)).collect()
}

#[test]
fn a_room_imports_only_what_it_may() {
    let mut breaches = vec![];
    for source in sources().iter().filter(|source| source.crate_dir() == "src/") {
        let module = source.module();
        let Some(room) = module.first().filter(|room| !WIRING.contains(room)) else { continue };
        let Some((_, allowed)) = ROOMS.iter().find(|(name, _)| name == room) else {
            breaches.push(format!("{}: no rule for the room {room}", source.path));
            continue;
        };
        for import in source.imports() {
            let Some(other) = import.first() else { continue };
            if other != room
                && ROOMS.iter().any(|(name, _)| name == other)
                && !allowed.contains(&other.as_str())
            {
                breaches.push(format!("{}: {room} must not import {other}", source.path));
            }
        }
    }
    assert!(breaches.is_empty(), "{}", breaches.join("\n"));
}

#[test]
fn files_do_not_import_each_other_in_a_circle() {
    let sources = sources();
    // A folder's own file names what is in the folder, and that may name it.
    let modules: BTreeMap<(&str, Vec<&str>), &str> = sources
        .iter()
        .filter(|source| !source.path.ends_with("/mod.rs") && !source.path.ends_with("/lib.rs"))
        .map(|source| ((source.crate_dir(), source.module()), source.path.as_str()))
        .collect();
    let mut graph: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for source in &sources {
        for import in source.imports() {
            let import: Vec<&str> = import.iter().map(String::as_str).collect();
            let target = (1..=import.len())
                .rev()
                .find_map(|len| modules.get(&(source.crate_dir(), import[..len].to_vec())));
            let own = source.module();
            if let Some(target) = target.filter(|_| {
                !import.starts_with(&own)
                    && !own.starts_with(&import[..import.len().min(own.len())])
            }) {
                graph.entry(&source.path).or_default().insert(target);
            }
        }
    }
    let reaches = |from: &str, to: &str| {
        let (mut seen, mut open) = (BTreeSet::new(), vec![from]);
        while let Some(file) = open.pop() {
            for next in graph.get(file).into_iter().flatten() {
                if *next == to {
                    return true;
                }
                if seen.insert(*next) {
                    open.push(next);
                }
            }
        }
        false
    };
    let circles: Vec<&str> = graph.keys().filter(|file| reaches(file, file)).copied().collect();
    assert!(circles.is_empty(), "in a circle: {}", circles.join(", "));
}

#[test]
fn what_is_confined_stays_where_it_is() {
    let mut breaches = vec![];
    for source in sources() {
        for (text, homes) in CONFINED {
            if source.code.contains(text) && !homes.contains(&source.path.as_str()) {
                breaches.push(format!("{}: {text} outside {}", source.path, homes.join(", ")));
            }
        }
        // A database of another encoding shows `?` for what is not ASCII in a message.
        if let Some(line) = source.code.lines().find(|line| !line.is_ascii()) {
            breaches.push(format!("{}: not ASCII: {}", source.path, line.trim()));
        }
    }
    assert!(breaches.is_empty(), "{}", breaches.join("\n"));
}

/// A folder's own file begins with a table of the others, in which a newcomer looks first.
#[test]
fn the_head_of_a_folder_names_its_files() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let rooms = ROOMS.iter().map(|(room, _)| format!("src/{room}/mod.rs"));
    let crates = ["format", "kafka", "model", "registry", "testbed"];
    let heads = rooms.chain(crates.iter().map(|name| format!("crates/{name}/src/lib.rs")));
    let mut wrong = vec![];
    for head in heads.map(|head| root.join(head)).filter(|head| head.exists()) {
        let text = fs::read_to_string(&head).expect("a head");
        let names = text.lines().filter_map(|line| line.strip_prefix("//! | `")?.split_once('`'));
        let named: BTreeSet<String> =
            names.map(|(name, _)| name.trim_end_matches('/').to_owned()).collect();
        let declared =
            text.lines().filter_map(|line| line.trim_end_matches(';').split_once("mod "));
        let tests = ["tests", "corpus", "fuzz"];
        let there: BTreeSet<String> = declared
            .filter(|(before, name)| {
                ["", "pub ", "pub(crate) "].contains(before) && !tests.contains(name)
            })
            .map(|(_, name)| name.to_owned())
            .collect();
        for name in named.symmetric_difference(&there) {
            wrong.push(format!("{}: {name}", head.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
