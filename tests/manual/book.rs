//! The manual as a book: mdBook builds it without a complaint, and every link in it leads somewhere.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Component, Path, PathBuf};
use std::process::Command;

use crate::pages::{self, root};
use crate::tools::tool;

#[test]
fn the_manual_is_a_book_in_which_every_link_leads_somewhere() {
    let folder = tempfile::tempdir().expect("make a folder");
    let output = Command::new(tool("mdbook"))
        .args(["build", "--dest-dir"])
        .arg(folder.path())
        .arg(root().join("docs"))
        .output()
        .expect("start mdbook");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && !said.contains("WARN") && !said.contains("ERROR"), "{said}");
    let built = Built::read(folder.path());
    for page in pages::manual().iter().filter(|page| !page.path.ends_with("SUMMARY.md")) {
        let below = page.path.strip_prefix("docs/src").expect("it is of the manual").with_extension("html");
        assert!(built.pages.contains_key(&below), "`{}` is not in SUMMARY.md", page.path.display());
    }
    let broken = built.broken_links();
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

/// What the README and others beside it link to.
#[test]
fn the_pages_beside_the_manual_link_to_what_is_there() {
    for name in ["README.md", "CONTRIBUTING.md", "ARCHITECTURE.md", "RELEASING.md", "SECURITY.md"] {
        let text = pages::page(name).text;
        let targets = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        for target in targets.filter(|target| !target.contains("://") && !target.starts_with('#')) {
            let file = target.split('#').next().unwrap_or(target);
            assert!(root().join(file).exists(), "{name}: `{target}` is missing");
        }
    }
}

/// The built pages: their links and the places in them that can be linked to.
struct Built {
    folder: PathBuf,
    pages: BTreeMap<PathBuf, Html>,
}

struct Html {
    links: BTreeSet<String>,
    ids: BTreeSet<String>,
}

impl Built {
    fn read(folder: &Path) -> Self {
        let mut pages = BTreeMap::new();
        let mut folders = vec![folder.to_owned()];
        while let Some(next) = folders.pop() {
            for entry in fs::read_dir(next).expect("read the book").flatten() {
                let path = entry.path();
                if path.is_dir() {
                    folders.push(path);
                } else if path.extension().is_some_and(|extension| extension == "html") {
                    let below = path.strip_prefix(folder).expect("it is below").to_owned();
                    pages.insert(below, Html::of(&fs::read_to_string(&path).expect("read a page")));
                }
            }
        }
        // All of it once more, on one page to print, and the page for what is not there.
        pages.retain(|path, _| !matches!(path.to_str(), Some("print.html" | "404.html" | "toc.html")));
        Self { folder: folder.to_owned(), pages }
    }

    fn broken_links(&self) -> Vec<String> {
        let links = self.pages.iter().flat_map(|(path, html)| html.links.iter().map(move |link| (path, link)));
        links
            .filter(|(path, link)| !self.leads_somewhere(path, link))
            .map(|(path, link)| format!("{}: `{link}` leads nowhere", path.display()))
            .collect()
    }

    fn leads_somewhere(&self, from: &Path, link: &str) -> bool {
        if link.contains("://") {
            return true;
        }
        let (file, id) = link.split_once('#').unwrap_or((link, ""));
        let path = if file.is_empty() { from.to_owned() } else { beside(from, file) };
        match self.pages.get(&path) {
            Some(html) => id.is_empty() || html.ids.contains(id),
            None => self.folder.join(&path).is_file(),
        }
    }
}

impl Html {
    /// Of what stands in `main`: around it are menus of the book's own.
    fn of(text: &str) -> Self {
        let main = text.split_once("<main>").and_then(|(_, rest)| rest.split_once("</main>")).map_or("", |main| main.0);
        let values = |name: &str| {
            let marker = format!(" {name}=\"");
            main.split(&marker).skip(1).filter_map(|rest| rest.split('"').next()).map(str::to_owned).collect()
        };
        Self { links: values("href"), ids: values("id") }
    }
}

fn beside(from: &Path, file: &str) -> PathBuf {
    let mut path = from.parent().map(Path::to_owned).unwrap_or_default();
    for part in Path::new(file).components() {
        match part {
            Component::ParentDir => {
                path.pop();
            }
            Component::Normal(name) => path.push(name),
            _ => {}
        }
    }
    path
}
