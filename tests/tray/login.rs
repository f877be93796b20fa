//! Starting at login, from a folder whose name is hard to write down.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use rustix::process::Signal;

use crate::bus::{Bus, Icon, Panel};
use crate::desk::Tray;
use crate::limits;
use crate::sandbox::{Sandbox, kill, pierhead};

/// Both programs in a folder of their own.
pub(crate) fn install(folder: &Path) -> PathBuf {
    fs::create_dir_all(folder).expect("make a folder");
    for program in [pierhead(), PathBuf::from(env!("CARGO_BIN_EXE_pierhead-tray"))] {
        let target = folder.join(program.file_name().expect("a program's name"));
        // The same file where that can be had: they are large.
        fs::hard_link(&program, &target).or_else(|_| fs::copy(&program, &target).map(drop)).expect("install a program");
    }
    folder.join("pierhead-tray")
}

/// A tray that the desktop started.
struct Launched(u32);

impl Drop for Launched {
    fn drop(&mut self) {
        kill(self.0, Signal::KILL);
        limits::is_gone_within(self.0, limits::LIMIT);
    }
}

/// Does with an entry what a desktop does at login, by a program that desktops have for that.
#[track_caller]
fn log_in(sandbox: &Sandbox, entry: &Path, bus: &Bus, panel: &Panel) -> (Launched, Icon) {
    // Its streams would be the tray's as well.
    let mut launcher = sandbox.program("gio");
    launcher.arg("launch").arg(entry).stdout(Stdio::null()).stderr(Stdio::null());
    assert!(launcher.status().expect("run gio").success(), "the launcher failed");
    let service = panel.registered();
    let pid = service.split('-').nth(1).and_then(|pid| pid.parse().ok()).expect("a name with a number");
    (Launched(pid), Icon::new(bus.connect(), service))
}

#[test]
fn the_entry_starts_the_tray_and_follows_it_to_another_folder() {
    let sandbox = Sandbox::new();
    let bus = Bus::start(&sandbox);
    let panel = Panel::start(&bus);
    let (old, new) = (sandbox.path("My Programs (all), $HOME"), sandbox.path("moved \\ \"elsewhere\" `here`"));
    let tray = install(&old);
    let entry = sandbox.path("c/autostart/pierhead.desktop");
    sandbox.repo("shop").server("web", "").set("autostart = true").add();
    sandbox.repo("blog").server("web", "").add();

    let running = Tray::start_program(&sandbox, &tray);
    let icon = panel.icon(&bus);
    icon.wait("a daemon", || (icon.tip() != "connecting…").then_some(()));
    icon.click(&["Start at login"]);
    icon.wait_row(&["Start at login"], |row| row.is_on && row.is_enabled);
    let written = fs::read_to_string(&entry).expect("an entry");
    assert!(written.contains("My Programs (all)"), "{written}");
    running.kill();
    sandbox.run(["down", "--all"]).ok();
    sandbox.run(["daemon", "stop"]).ok();

    // Whoever logs in finds the tray, the daemon, and what is to start by itself.
    let (launched, icon) = log_in(&sandbox, &entry, &bus, &panel);
    let program = fs::read_link(format!("/proc/{}/exe", launched.0)).expect("a program");
    assert_eq!(program, tray);
    icon.wait("the server that starts by itself", || (icon.tip() == "1 ready").then_some(()));
    icon.wait_row(&["shop", "ready on"], |_| true);
    icon.wait_row(&["Start at login"], |row| row.is_on);
    drop(launched);

    // A tray that has moved repairs the entry, and it starts that tray from then on.
    fs::rename(&old, &new).expect("move the programs");
    let tray = new.join("pierhead-tray");
    let running = Tray::start_program(&sandbox, &tray);
    let icon = panel.icon(&bus);
    icon.wait_row(&["Start at login"], |row| row.is_on);
    assert_ne!(fs::read_to_string(&entry).expect("an entry"), written);
    running.kill();
    let (launched, _icon) = log_in(&sandbox, &entry, &bus, &panel);
    assert_eq!(fs::read_link(format!("/proc/{}/exe", launched.0)).expect("a program"), tray);
}
