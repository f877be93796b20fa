//! What is approved in a window is what was shown in it.

use crate::bus::{Bus, Panel};
use crate::desk::Tray;
use crate::sandbox::Sandbox;
use crate::zenity::Person;

/// A desk with a panel, and a person at it.
#[track_caller]
fn desk() -> (Sandbox, Bus, Panel, Person) {
    let sandbox = Sandbox::new();
    let bus = Bus::start(&sandbox);
    let panel = Panel::start(&bus);
    let person = Person::sits_down(&sandbox);
    (sandbox, bus, panel, person)
}

#[test]
fn a_changed_command_is_shown_and_approved() {
    let (sandbox, bus, panel, mut person) = desk();
    let repo = sandbox.repo("shop").server("web", "--print old-word").add();
    let (_tray, icon) = Tray::on(&sandbox, &bus, &panel);
    assert!(!icon.row(&["shop", "Trust…"]).unwrap().is_enabled);
    repo.rewrite_settings("old-word", "new-word");
    icon.wait_row(&["shop", "Start"], |row| !row.is_enabled);
    icon.click(&["shop", "Trust…"]);
    let shown = person.sees();
    assert!(shown.contains("old-word") && shown.contains("new-word") && shown.contains("Approve"), "{shown}");
    icon.wait_row(&["shop", "Trust…"], |row| !row.is_enabled);
    person.says_no();
    // Nothing was approved, and it can be asked again.
    icon.click(&["shop", "Trust…"]);
    person.sees();
    person.says_yes();
    icon.click(&["shop", "Start"]);
    icon.wait("a server", || (icon.tip() == "1 ready").then_some(()));
    sandbox.run(["logs", "shop"]).ok().prints("new-word");
}

#[test]
fn what_was_swapped_while_the_window_stood_is_not_approved() {
    let (sandbox, bus, panel, mut person) = desk();
    let repo = sandbox.repo("shop").server("web", "--print old-word").add();
    let (_tray, icon) = Tray::on(&sandbox, &bus, &panel);
    repo.rewrite_settings("old-word", "new-word");
    icon.click(&["shop", "Trust…"]);
    assert!(person.sees().contains("new-word"));
    repo.rewrite_settings("new-word", "evil-word");
    person.says_yes();
    let told = person.sees();
    assert!(told.contains("changed since they were shown"), "{told}");
    person.says_yes();
    assert_eq!(sandbox.status("shop")["trusted"], false);
}

#[test]
fn a_repo_is_removed_when_that_is_meant() {
    let (sandbox, bus, panel, mut person) = desk();
    let repo = sandbox.repo("shop").server("web", "").add();
    let (_tray, icon) = Tray::on(&sandbox, &bus, &panel);
    icon.click(&["shop", "Remove…"]);
    assert!(person.sees().contains("Remove shop?"));
    icon.wait_row(&["shop", "Remove…"], |row| !row.is_enabled);
    person.says_no();
    icon.click(&["shop", "Remove…"]);
    person.sees();
    person.says_yes();
    icon.wait("no repo", || icon.row(&["no repositories yet"]));
    assert!(repo.root.exists());
}
