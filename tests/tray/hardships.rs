//! Buses, panels and daemons that are missing, die, come back or hang.

use std::fs;

use rustix::process::Signal;

use crate::bus::{Bus, Panel};
use crate::desk::Tray;
use crate::limits;
use crate::login;
use crate::sandbox::{Sandbox, kill};

#[test]
fn without_a_session_bus_it_says_so_and_ends() {
    let sandbox = Sandbox::new();
    sandbox.set_env("DBUS_SESSION_BUS_ADDRESS", &format!("unix:path={}", sandbox.path("none").display()));
    Tray::start(&sandbox).finish().code_is(1).says("there is no session bus").says("hint: ");
}

#[test]
fn without_a_panel_it_waits_for_one() {
    let sandbox = Sandbox::new();
    let bus = Bus::start(&sandbox);
    let tray = Tray::start(&sandbox);
    tray.says("no panel here shows icons");
    tray.says("hint: GNOME needs the extension AppIndicator");
    let check = || sandbox.finish(sandbox.program(env!("CARGO_BIN_EXE_pierhead-tray")).arg("--check"));
    check().code_is(1).says("no panel here shows icons");
    let panel = Panel::start(&bus);
    check().code_is(0);
    let icon = panel.icon(&bus);
    icon.wait("a daemon", || (icon.tip() == "nothing runs").then_some(()));
}

#[test]
fn a_panel_that_restarts_gets_the_icon_again() {
    let sandbox = Sandbox::new();
    let bus = Bus::start(&sandbox);
    let panel = Panel::start(&bus);
    sandbox.repo("shop").server("web", "").add();
    let (_tray, icon) = Tray::on(&sandbox, &bus, &panel);
    panel.stop();
    // What happens while there is no panel is shown to the next.
    sandbox.run(["up", "shop"]).ok();
    drop(icon);
    let panel = Panel::start(&bus);
    let icon = panel.icon(&bus);
    icon.wait("a server", || (icon.tip() == "1 ready").then_some(()));
}

#[test]
fn a_panel_that_hangs_is_named() {
    let sandbox = Sandbox::new();
    let bus = Bus::start(&sandbox);
    let panel = Panel::that_hangs(&bus);
    let tray = Tray::start(&sandbox);
    panel.registered();
    tray.says("the panel does not answer");
    assert!(limits::is_alive(tray.pid()));
}

#[test]
fn when_the_bus_dies_it_ends() {
    let sandbox = Sandbox::new();
    let bus = Bus::start(&sandbox);
    let panel = Panel::start(&bus);
    let (tray, _icon) = Tray::on(&sandbox, &bus, &panel);
    kill(bus.daemon.pid(), Signal::KILL);
    tray.finish().code_is(1).says("the session bus has ended");
}

#[test]
fn a_killed_daemon_is_started_again_and_no_server_dies() {
    let sandbox = Sandbox::new();
    let bus = Bus::start(&sandbox);
    let panel = Panel::start(&bus);
    let repo = sandbox.repo("shop").server("web", "").add();
    sandbox.run(["up", "shop"]).ok();
    let pid = repo.pid();
    let (_tray, icon) = Tray::on(&sandbox, &bus, &panel);
    assert_eq!(icon.tip(), "1 ready");
    sandbox.kill_daemon();
    icon.wait("connecting…", || (icon.tip() == "connecting…").then_some(()));
    icon.wait("the server again", || (icon.tip() == "1 ready").then_some(()));
    assert_eq!(repo.pid(), pid);
    icon.click(&["shop", "Stop"]);
    icon.wait("the end", || (icon.tip() == "nothing runs").then_some(()));
}

#[test]
fn a_killed_tray_stops_no_server() {
    let sandbox = Sandbox::new();
    let bus = Bus::start(&sandbox);
    let panel = Panel::start(&bus);
    let repo = sandbox.repo("shop").server("web", "").add();
    let (tray, icon) = Tray::on(&sandbox, &bus, &panel);
    icon.click(&["shop", "Start"]);
    icon.wait("a server", || (icon.tip() == "1 ready").then_some(()));
    tray.kill();
    assert!(limits::is_alive(repo.pid()));
    assert_eq!(sandbox.status("shop")["state"], "ready");
    let (_tray, icon) = Tray::on(&sandbox, &bus, &panel);
    assert_eq!(icon.tip(), "1 ready");
}

#[test]
fn after_an_upgrade_the_tray_is_the_new_one() {
    let sandbox = Sandbox::new();
    let bus = Bus::start(&sandbox);
    let panel = Panel::start(&bus);
    let folder = sandbox.path("h/bin");
    let program = login::install(&folder);
    let repo = sandbox.repo("shop").server("web", "").add();
    let tray = Tray::start_program(&sandbox, &program);
    let icon = panel.icon(&bus);
    icon.wait("a daemon", || (icon.tip() == "nothing runs").then_some(()));
    icon.click(&["shop", "Start"]);
    icon.wait("a server", || (icon.tip() == "1 ready").then_some(()));
    let server = repo.pid();

    // Another file, made by another process: a thread of this one may be starting something that would hold it open.
    let newer = sandbox.path("h/newer");
    sandbox.finish(sandbox.program("cp").args(["--preserve=mode"]).args([&program, &newer])).ok();
    fs::rename(newer, &program).unwrap();
    let runs = || fs::read_link(format!("/proc/{}/exe", tray.pid())).unwrap();
    assert_ne!(runs(), program, "the old one, whose file is gone");
    sandbox.kill_daemon();
    // Under another name on the bus, in the same process.
    let icon = panel.icon(&bus);
    icon.wait("the server again", || (icon.tip() == "1 ready").then_some(()));
    assert_eq!((runs(), repo.pid()), (program, server));
    icon.click(&["shop", "Stop"]);
    icon.wait("the end", || (icon.tip() == "nothing runs").then_some(()));
}

#[test]
fn a_second_tray_says_that_one_runs() {
    let sandbox = Sandbox::new();
    let bus = Bus::start(&sandbox);
    let panel = Panel::start(&bus);
    let (_tray, _icon) = Tray::on(&sandbox, &bus, &panel);
    Tray::start(&sandbox).finish().code_is(0).says("it runs already");
}

#[test]
fn without_dialogs_it_says_what_to_do_by_hand() {
    let sandbox = Sandbox::new();
    let bus = Bus::start(&sandbox);
    let panel = Panel::start(&bus);
    // Without zenity, whatever this machine has.
    sandbox.set_env("PATH", "/nowhere");
    let (tray, icon) = Tray::on(&sandbox, &bus, &panel);
    icon.click(&["Add repository…"]);
    tray.says("Run `pierhead add PATH` in a terminal");
}
