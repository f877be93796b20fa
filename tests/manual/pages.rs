//! The pages that people read, and the fenced blocks in them that are tried out.

use std::fs;
use std::path::{Path, PathBuf};

/// A page: README.md, or one of the manual.
pub(crate) struct Page {
    /// Below the project.
    pub(crate) path: PathBuf,
    pub(crate) text: String,
}

/// A fenced block.
#[derive(Debug, Clone)]
pub(crate) struct Fence {
    /// What the comment on the line above says, without its marks.
    pub(crate) mark: String,
    /// The language.
    pub(crate) language: String,
    /// The text, with a line end at its end.
    pub(crate) body: String,
}

/// The project's folder.
pub(crate) fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// A page of the project.
#[track_caller]
pub(crate) fn page(path: &str) -> Page {
    let text = fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("read `{path}`: {error}"));
    Page { path: path.into(), text }
}

/// Every page of the manual, in the order of their paths.
pub(crate) fn manual() -> Vec<Page> {
    let mut paths = Vec::new();
    collect(Path::new("docs/src"), &mut paths);
    paths.sort();
    paths.iter().map(|path| page(&path.display().to_string())).collect()
}

fn collect(folder: &Path, paths: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(root().join(folder)).expect("read the manual's folder").flatten() {
        let path = folder.join(entry.file_name());
        if entry.path().is_dir() {
            collect(&path, paths);
        } else if path.extension().is_some_and(|extension| extension == "md") {
            paths.push(path);
        }
    }
}

/// README.md and the manual.
pub(crate) fn all() -> Vec<Page> {
    std::iter::once(page("README.md")).chain(manual()).collect()
}

/// The block behind `<!-- tested: NAME -->`, wherever it stands.
#[track_caller]
pub(crate) fn block(name: &str) -> String {
    let mark = format!("tested: {name}");
    let mut found: Vec<String> =
        all().iter().flat_map(Page::fences).filter(|fence| fence.mark == mark).map(|fence| fence.body).collect();
    // The README may show what the manual does.
    found.dedup();
    assert_eq!(found.len(), 1, "`<!-- {mark} -->` stands before one block of README.md and the manual: {found:#?}");
    found.swap_remove(0)
}

impl Page {
    /// Its blocks, in order.
    pub(crate) fn fences(&self) -> Vec<Fence> {
        let mut fences = Vec::new();
        let mut mark = String::new();
        let mut lines = self.text.lines();
        while let Some(line) = lines.next() {
            if let Some(comment) = line.strip_prefix("<!-- ").and_then(|rest| rest.strip_suffix(" -->")) {
                comment.clone_into(&mut mark);
                continue;
            }
            if let Some(language) = line.strip_prefix("```") {
                let body = lines.by_ref().take_while(|line| *line != "```").flat_map(|line| [line, "\n"]).collect();
                fences.push(Fence { mark: mark.clone(), language: language.to_owned(), body });
            }
            mark.clear();
        }
        fences
    }
}
