//! `trust.toml`: what has been approved.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use serde::{Deserialize, Serialize};

use super::{Approval, Extra};

/// The approvals, one per server and directory.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trust {
    /// The approvals.
    #[serde(default)]
    pub approved: Vec<Approved>,
    /// What a later version wrote.
    #[serde(flatten)]
    pub extra: Extra,
    #[serde(skip)]
    order: Order,
}

/// Which approval is how manieth by directory and server, made when one is first looked for: a daemon with a thousand repos
/// looks for a thousand. One that is out of date costs time only.
#[derive(Debug, Clone, Default)]
struct Order(OnceLock<Vec<usize>>);

/// It says nothing of its own.
impl PartialEq for Order {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Order {}

/// One approval.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approved {
    /// The repo's directory.
    pub root: PathBuf,
    /// The server.
    pub server: String,
    /// See [`Approval::hash`].
    pub hash: String,
    /// See [`Approval::text`].
    pub text: String,
    /// What a later version wrote.
    #[serde(flatten)]
    pub extra: Extra,
}

impl Trust {
    /// Reads `trust.toml`.
    pub fn parse(text: &str) -> Result<Self, String> {
        toml::from_str(text).map_err(|e| e.to_string())
    }

    /// The text of `trust.toml`.
    pub fn to_text(&self) -> String {
        toml::to_string_pretty(self).unwrap_or_default()
    }

    /// True when exactly this was approved.
    pub fn holds(&self, root: &Path, server: &str, approval: &Approval) -> bool {
        // The text is compared as well: a hash alone would be believed about whatever stands beside it.
        self.of(root, server).is_some_and(|known| known.hash == approval.hash && known.text == approval.text)
    }

    /// Approves; replaces what was approved before.
    pub fn approve(&mut self, root: &Path, server: &str, approval: Approval) {
        self.order = Order::default();
        self.approved.retain(|known| !(known.root == root && known.server == server));
        let Approval { text, hash } = approval;
        self.approved.push(Approved {
            root: root.to_owned(),
            server: server.to_owned(),
            hash,
            text,
            extra: Extra::default(),
        });
    }

    /// Forgets every approval of a directory.
    pub fn forget(&mut self, root: &Path) {
        self.order = Order::default();
        self.approved.retain(|known| known.root != root);
    }

    /// A directory is another one now: what was approved of it holds there.
    pub fn move_to(&mut self, from: &Path, to: &Path) {
        self.forget(to);
        for known in self.approved.iter_mut().filter(|known| known.root == from) {
            to.clone_into(&mut known.root);
        }
    }

    /// What changed since the approval, as lines that begin with `- ` and `+ `; all lines with `+ ` when nothing was
    /// approved.
    pub fn difference(&self, root: &Path, server: &str, approval: &Approval) -> String {
        let before = self.of(root, server).map_or("", |known| known.text.as_str());
        let gone = before.lines().filter(|line| !approval.text.lines().any(|new| new == *line));
        let new = approval.text.lines().filter(|line| !before.lines().any(|old| old == *line));
        gone.map(|line| format!("- {line}\n")).chain(new.map(|line| format!("+ {line}\n"))).collect()
    }

    /// True when this server of this directory was approved in some form.
    pub fn knows(&self, root: &Path, server: &str) -> bool {
        self.of(root, server).is_some()
    }

    fn of(&self, root: &Path, server: &str) -> Option<&Approved> {
        let wanted = (root.as_os_str(), server);
        let order = self.order.0.get_or_init(|| {
            let mut order: Vec<usize> = (0..self.approved.len()).collect();
            order.sort_by_key(|at| self.approved.get(*at).map(Approved::key));
            order
        });
        let place = order.partition_point(|at| self.approved.get(*at).map(Approved::key) < Some(wanted));
        let first = order.get(place).and_then(|at| self.approved.get(*at)).filter(|known| known.key() == wanted);
        // Paths may be the same and not so in bytes.
        first.or_else(|| self.approved.iter().find(|known| known.root == root && known.server == server))
    }
}

impl Approved {
    fn key(&self) -> (&OsStr, &str) {
        (self.root.as_os_str(), &self.server)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn approval(text: &str) -> Approval {
        Approval { text: text.to_owned(), hash: format!("hash of {text}") }
    }

    #[test]
    fn one_changed_byte_is_not_approved_and_is_shown() {
        let root = Path::new("/src/shop");
        let mut trust = Trust::default();
        trust.approve(root, "web", approval("command: a\ncwd: .\n"));
        let trust = Trust::parse(&trust.to_text()).unwrap();
        assert!(trust.holds(root, "web", &approval("command: a\ncwd: .\n")));
        let changed = approval("command: b\ncwd: .\n");
        assert!(!trust.holds(root, "web", &changed));
        assert_eq!(trust.difference(root, "web", &changed), "- command: a\n+ command: b\n");
        assert!(!trust.holds(Path::new("/src/other"), "web", &approval("command: a\ncwd: .\n")));
    }

    #[test]
    fn each_of_many_is_found_whatever_was_looked_for_and_changed_before() {
        let names = ["web", "api", "worker"];
        let roots: Vec<PathBuf> = (0..40).map(|number| PathBuf::from(format!("/src/{}", number * 7 % 40))).collect();
        let mut trust = Trust::default();
        for (number, root) in roots.iter().enumerate() {
            for name in names {
                trust.approve(root, name, approval(&format!("{number} {name}")));
                assert!(trust.knows(root, name) && !trust.knows(root, "other"));
            }
        }
        trust.forget(&roots[3]);
        trust.move_to(&roots[5], Path::new("/elsewhere"));
        // Changed past all that keeps count.
        trust.approved.swap(0, 100);
        trust.approved.remove(50);
        let again = Trust::parse(&trust.to_text()).unwrap();
        assert_eq!(again, trust);
        for trust in [trust, again] {
            assert!(!trust.knows(&roots[3], "web") && !trust.knows(&roots[5], "web"));
            assert!(trust.knows(Path::new("/elsewhere"), "api"));
            let count = |(number, root): (usize, &PathBuf)| {
                names.iter().filter(|name| trust.holds(root, name, &approval(&format!("{number} {name}")))).count()
            };
            assert_eq!(roots.iter().enumerate().map(count).sum::<usize>(), 40 * 3 - 7);
            assert!(trust.knows(Path::new("/src//0/"), "web"), "the same path, written in another way");
        }
    }
}
