//! The fuzz targets on a stable toolchain: what was kept in `fuzz/corpus`, and a short random run around it.

// These tests read the repo's own files, and stop at once when they cannot.
#![allow(clippy::disallowed_methods, clippy::expect_used)]

mod mutate;
mod targets;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::Duration;

use proptest::test_runner::{Config, TestRunner};

/// Random inputs for each target.
const CASES: u32 = 2_000;
/// What one input may take at most: a hang becomes a failure that shows it.
const LIMIT: Duration = Duration::from_mins(1);

#[test]
fn what_was_kept_still_holds() {
    for (name, check) in targets::ALL {
        let kept = kept(name);
        assert!(kept.len() >= 10, "`fuzz/corpus/{name}` has {} entries", kept.len());
        watched(name, move |tell| {
            for (path, input) in kept {
                let _ = tell.send(input.clone());
                let result = std::panic::catch_unwind(|| check(&input));
                assert!(result.is_ok(), "`{}` does not hold, as is said above", path.display());
            }
        });
    }
}

#[test]
fn what_is_near_to_it_holds() {
    for (name, check) in targets::ALL {
        let kept = kept(name).into_iter().map(|(_, input)| input).collect();
        watched(name, move |tell| {
            let config = Config { cases: CASES, failure_persistence: None, ..Config::default() };
            let found = TestRunner::new(config).run(&mutate::inputs(kept), |input| {
                let _ = tell.send(input.clone());
                check(&input);
                Ok(())
            });
            if let Err(proptest::test_runner::TestError::Fail(why, input)) = &found {
                let shown = String::from_utf8_lossy(input);
                panic!("`{name}` does not hold of {shown:?}: {why}\nkeep it in `fuzz/corpus/{name}`: {input:?}");
            }
            assert!(found.is_ok(), "{found:?}");
        });
    }
}

#[test]
fn every_target_has_its_program() {
    let folder = root().join("fuzz/fuzz_targets");
    let manifest = fs::read_to_string(root().join("fuzz/Cargo.toml")).expect("read a manifest");
    for (name, _) in targets::ALL {
        let program = fs::read_to_string(folder.join(format!("{name}.rs"))).unwrap_or_default();
        assert!(program.contains(&format!("targets::{name}(")), "`fuzz/fuzz_targets/{name}.rs` does not run it");
        assert!(manifest.contains(&format!("name = \"{name}\"")), "`fuzz/Cargo.toml` does not name `{name}`");
    }
    assert_eq!(fs::read_dir(folder).expect("list programs").count(), targets::ALL.len());
}

/// Runs `work` in a thread, and says at what input it was when it comes to no end.
fn watched(name: &str, work: impl FnOnce(&Sender<Vec<u8>>) + Send + 'static) {
    let (tell, told) = channel();
    let thread = std::thread::spawn(move || work(&tell));
    let mut last = Vec::new();
    loop {
        match told.recv_timeout(LIMIT) {
            Ok(input) => last = input,
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {
                panic!("`{name}` comes to no end with {:?}", String::from_utf8_lossy(&last))
            }
        }
    }
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

/// The corpus of a target.
fn kept(name: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = root().join("fuzz/corpus").join(name);
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("list `{}`: {error}", folder.display()));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    let read = |path: PathBuf| (path.clone(), fs::read(path).expect("read an entry"));
    paths.into_iter().map(read).collect()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
