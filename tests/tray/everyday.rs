//! What people do every day.

use std::fs;

use rustix::process::Signal;

use crate::bus::{Bus, Panel, Pixels};
use crate::desk::Tray;
use crate::limits;
use crate::sandbox::{Sandbox, kill, pierhead};
use crate::zenity::{Opener, Person};

fn is_green([red, green, _]: [u8; 3]) -> bool {
    green > 150 && red < 100
}

fn is_red([red, green, _]: [u8; 3]) -> bool {
    red > 200 && green < 120
}

#[test]
fn a_server_is_started_opened_restarted_and_left_running_from_the_menu() {
    let sandbox = Sandbox::new();
    let bus = Bus::start(&sandbox);
    let panel = Panel::start(&bus);
    let mut person = Person::sits_down(&sandbox);
    let browser = Opener::install(&sandbox, "browser");
    sandbox.set_env("BROWSER", "browser");
    let repo = sandbox.repo("shop").server("web", "").set("restart = \"never\"\nopen_path = \"/admin\"").add();
    let (tray, icon) = Tray::on(&sandbox, &bus, &panel);
    assert_eq!(icon.tip(), "nothing runs");
    assert!(!is_green(icon.lamp()) && !is_red(icon.lamp()));
    assert_eq!(icon.row(&["shop", "stopped"]).map(|row| row.is_enabled), Some(false));

    icon.click(&["shop", "Start"]);
    icon.wait_row(&["shop", "ready on"], |row| row.label == format!("ready on {}", repo.port()));
    icon.wait("the green lamp", || is_green(icon.lamp()).then_some(()));
    assert_eq!(icon.tip(), "1 ready");
    icon.wait_row(&["1 ready"], |_| true);

    icon.click(&["shop", "Open"]);
    assert_eq!(browser.opened().1, format!("http://127.0.0.1:{}/admin", repo.port()));
    icon.wait_row(&["shop", "Open"], |row| row.is_enabled);
    icon.click_icon();
    assert_eq!(browser.opened().1, format!("http://127.0.0.1:{}/admin", repo.port()));

    let pid = repo.pid();
    kill(pid, Signal::KILL);
    icon.wait_row(&["shop", "failed"], |row| row.label.contains("KILL"));
    icon.wait("the red lamp", || is_red(icon.lamp()).then_some(()));
    icon.click(&["shop", "Why?"]);
    assert!(person.sees().contains("ended with signal KILL"));
    person.says_yes();

    icon.click(&["shop", "Start"]);
    icon.wait_row(&["shop", "ready on"], |_| true);
    let before = repo.pid();
    icon.click(&["shop", "Restart"]);
    icon.wait("another process", || sandbox.status("shop")["pid"].as_u64().filter(|pid| *pid != u64::from(before)));
    icon.wait_row(&["shop", "ready on"], |_| true);

    icon.click(&["Quit"]);
    let question = person.sees();
    assert!(question.contains("1 server runs") && question.contains("Leave running"), "{question}");
    person.says_yes();
    tray.finish().code_is(0);
    assert!(limits::is_alive(repo.pid()));

    // The answer is kept, until the question is wanted again.
    let (tray, icon) = Tray::on(&sandbox, &bus, &panel);
    icon.wait_row(&["Ask when quitting"], |row| !row.is_on);
    icon.click(&["Quit"]);
    tray.finish().code_is(0);
    assert!(limits::is_alive(repo.pid()));
    let (tray, icon) = Tray::on(&sandbox, &bus, &panel);
    icon.click(&["Ask when quitting"]);
    icon.wait_row(&["Ask when quitting"], |row| row.is_on);
    icon.click(&["Quit"]);
    person.sees();
    person.says_yes();
    tray.finish().code_is(0);
}

#[test]
fn quitting_stops_the_servers_when_told_to() {
    let sandbox = Sandbox::new();
    let bus = Bus::start(&sandbox);
    let panel = Panel::start(&bus);
    let mut person = Person::sits_down(&sandbox);
    let repo = sandbox.repo("shop").server("web", "").add();
    sandbox.run(["up", "shop"]).ok();
    let pid = repo.pid();
    let (tray, icon) = Tray::on(&sandbox, &bus, &panel);
    icon.click(&["Quit"]);
    person.sees();
    person.says_no();
    icon.click(&["shop", "Restart"]);
    icon.wait("another process", || {
        let status = sandbox.status("shop");
        (status["state"] == "ready").then(|| status["pid"].as_u64()).flatten().filter(|now| *now != u64::from(pid))
    });
    icon.click(&["Quit"]);
    person.sees();
    person.chooses("Stop all");
    tray.finish().code_is(0);
    assert_eq!(sandbox.status("shop")["state"], "stopped");
}

#[test]
fn panels_choose_among_six_sizes() {
    let sandbox = Sandbox::new();
    let bus = Bus::start(&sandbox);
    let panel = Panel::start(&bus);
    sandbox.repo("shop").server("web", "").add();
    let (_tray, icon) = Tray::on(&sandbox, &bus, &panel);
    let off = icon.pictures();
    icon.click(&["shop", "Start"]);
    icon.wait("the green lamp", || is_green(icon.lamp()).then_some(()));
    let ready = icon.pictures();
    for (pictures, word) in [(&off, "off"), (&ready, "ready")] {
        let sides: Vec<(i32, i32)> = pictures.iter().map(|(width, height, _)| (*width, *height)).collect();
        assert_eq!(sides, [16, 22, 24, 32, 48, 64].map(|side| (side, side)), "{word}");
        let is_whole = |(width, height, pixels): &Pixels| i32::try_from(pixels.len()) == Ok(width * height * 4);
        assert!(pictures.iter().all(is_whole), "{word}");
    }
    assert!(off.iter().zip(&ready).all(|(off, ready)| off.2 != ready.2), "the lamp changed at every size");
}

#[test]
fn what_changes_elsewhere_is_shown_and_an_entry_keeps_its_number() {
    let sandbox = Sandbox::new();
    let bus = Bus::start(&sandbox);
    let panel = Panel::start(&bus);
    sandbox.repo("shop").server("web", "").server("api", "").add();
    let (_tray, icon) = Tray::on(&sandbox, &bus, &panel);
    let start = icon.row(&["shop", "api", "Start"]).expect("an entry");
    sandbox.run(["up", "shop/api"]).ok();
    icon.wait_row(&["shop · 1 of 2 ready"], |_| true);
    let now = icon.wait_row(&["shop", "api", "Start"], |row| !row.is_enabled);
    assert_eq!(now.number, start.number, "the menu was changed in place");
    // A repo more is another shape.
    sandbox.repo("blog").server("web", "").add();
    icon.wait_row(&["blog"], |_| true);
    sandbox.run(["remove", "blog"]).ok();
    icon.wait("blog to be gone", || icon.row(&["blog"]).is_none().then_some(()));
}

#[test]
fn why_a_server_failed_is_told_with_its_last_words() {
    let sandbox = Sandbox::new();
    let bus = Bus::start(&sandbox);
    let panel = Panel::start(&bus);
    let mut person = Person::sits_down(&sandbox);
    sandbox.repo("shop").server("web", "--print no-such-table --exit 3").set("restart = \"never\"").add();
    let (_tray, icon) = Tray::on(&sandbox, &bus, &panel);
    icon.wait_row(&["shop", "Why?"], |row| !row.is_enabled);
    icon.click(&["shop", "Start"]);
    icon.wait_row(&["shop", "failed"], |row| row.label.contains("exit code 3"));
    icon.click(&["shop", "Why?"]);
    let told = person.sees();
    assert!(told.contains("shop/web is failed") && told.contains("exit code 3"), "{told}");
    assert!(told.contains("It said last:\nno-such-table"), "{told}");
    person.says_yes();
}

#[test]
fn the_demo_shows_the_tray_where_there_is_a_panel() {
    let sandbox = Sandbox::new();
    let bus = Bus::start(&sandbox);
    let demo = concat!(env!("CARGO_MANIFEST_DIR"), "/../../assets/demo");
    let start = || sandbox.start(sandbox.program(demo).arg(pierhead()));
    let without = start().finish().ok();
    assert!(!without.stdout.contains("lighthouse"), "{}", without.stdout);

    let panel = Panel::start(&bus);
    let with = start();
    let icon = panel.icon(&bus);
    icon.wait("three servers", || (icon.tip() == "3 ready").then_some(()));
    with.finish().ok().prints("watch the lighthouse").prints("Done");
}

#[test]
fn everything_is_started_and_stopped_at_once() {
    let sandbox = Sandbox::new();
    let bus = Bus::start(&sandbox);
    let panel = Panel::start(&bus);
    sandbox.repo("shop").server("web", "").add();
    sandbox.repo("blog").server("web", "").add();
    let (_tray, icon) = Tray::on(&sandbox, &bus, &panel);
    icon.click(&["Start all"]);
    icon.wait("both", || (icon.tip() == "2 ready").then_some(()));
    icon.click(&["Stop all"]);
    icon.wait("neither", || (icon.tip() == "nothing runs").then_some(()));
}

#[test]
fn logs_and_folders_are_shown_by_the_desktops_own_programs() {
    let sandbox = Sandbox::new();
    let bus = Bus::start(&sandbox);
    let panel = Panel::start(&bus);
    let opener = Opener::install(&sandbox, "xdg-open");
    let terminal = Opener::install(&sandbox, "my-terminal");
    sandbox.set_env("TERMINAL", "my-terminal");
    let repo = sandbox.repo("shop").server("web", "").add();
    sandbox.run(["up", "shop"]).ok();
    let (_tray, icon) = Tray::on(&sandbox, &bus, &panel);
    icon.click(&["shop", "Show logs"]);
    assert_eq!(opener.opened().1, sandbox.status("shop")["log"]);
    icon.click(&["shop", "Open folder"]);
    assert_eq!(opener.opened().1, repo.arg());
    icon.click(&["shop", "Open terminal here"]);
    assert_eq!(terminal.opened().0, repo.arg());
    icon.click(&["Show logs folder"]);
    assert_eq!(opener.opened().1, sandbox.arg("s/pierhead/servers"));
}

#[test]
fn a_menu_of_many_repos_keeps_its_shape_while_servers_start_and_stop() {
    let sandbox = Sandbox::new();
    let bus = Bus::start(&sandbox);
    let panel = Panel::start(&bus);
    for number in 0..17 {
        sandbox.repo(&format!("r{number:02}")).server("web", "").add();
    }
    let (_tray, icon) = Tray::on(&sandbox, &bus, &panel);
    let below = icon.wait_row(&["All repositories"], |row| !row.rows.is_empty());
    let group = below.rows[0].label.trim_start_matches(['○', ' ']).to_owned();
    let last = ["All repositories", group.as_str(), "r16"];
    let numbers = || ["r00", "All repositories", "Quit"].map(|name| icon.row(&[name]).map(|row| row.number));
    let before = (numbers(), icon.row(&last).map(|row| row.number));
    assert!(before.1.is_some(), "{:#?}", icon.labels());
    sandbox.run(["up", "r16"]).ok();
    icon.wait_row(&last, |row| row.label.contains("r16 ·"));
    icon.wait("it to be told", || (icon.tip() == "1 ready").then_some(()));
    sandbox.run(["down", "r16"]).ok();
    icon.wait("it to be told", || (icon.tip() == "nothing runs").then_some(()));
    assert_eq!((numbers(), icon.row(&last).map(|row| row.number)), before, "an open menu stayed open");
    // A click closes it: who runs then comes up.
    icon.click(&[last[0], last[1], last[2], "Start"]);
    icon.wait_row(&last, |row| row.label.contains("r16 ·"));
    icon.wait("it to be told", || (icon.tip() == "1 ready").then_some(()));
    icon.click(&["Notifications"]);
    icon.wait_row(&["r16"], |row| row.label.contains("r16 ·"));
}

#[test]
fn what_the_tray_starts_is_collected() {
    const TIMES: usize = 12;
    let sandbox = Sandbox::new();
    let bus = Bus::start(&sandbox);
    let panel = Panel::start(&bus);
    let (opener, terminal) = (Opener::install(&sandbox, "xdg-open"), Opener::install(&sandbox, "my-terminal"));
    let browser = Opener::install(&sandbox, "browser");
    sandbox.set_env("TERMINAL", "my-terminal");
    sandbox.set_env("BROWSER", "browser");
    sandbox.repo("shop").server("web", "").add();
    sandbox.run(["up", "shop"]).ok();
    let (tray, icon) = Tray::on(&sandbox, &bus, &panel);
    for _ in 0..TIMES {
        for (entry, program) in [("Open folder", &opener), ("Open terminal here", &terminal), ("Open", &browser)] {
            icon.wait_row(&["shop", entry], |row| row.is_enabled);
            icon.click(&["shop", entry]);
            program.opened();
        }
    }
    // The last may be ending still: what is collected at all is by the time of some round trips over the bus.
    for round in 0.. {
        let dead = limits::zombies_of(tray.pid());
        if dead.is_empty() {
            break;
        }
        assert!(round < 100, "{} of {} are never collected: {dead:?}", dead.len(), 3 * TIMES);
        let is_on = icon.row(&["Notifications"]).expect("an entry").is_on;
        icon.click(&["Notifications"]);
        icon.wait_row(&["Notifications"], |row| row.is_on != is_on);
    }
}

#[test]
fn starting_at_login_is_switched_and_repaired() {
    let sandbox = Sandbox::new();
    let bus = Bus::start(&sandbox);
    let panel = Panel::start(&bus);
    let entry = sandbox.path("c/autostart/pierhead.desktop");
    let (tray, icon) = Tray::on(&sandbox, &bus, &panel);
    icon.wait_row(&["Start at login"], |row| !row.is_on);
    icon.click(&["Start at login"]);
    icon.wait("the entry", || entry.exists().then_some(()));
    icon.wait_row(&["Start at login"], |row| row.is_on && row.is_enabled);
    let text = fs::read_to_string(&entry).unwrap();
    let program = std::fs::canonicalize(env!("CARGO_BIN_EXE_pierhead-tray")).unwrap();
    assert!(text.contains(&format!("Exec=\"{}\"\n", program.display())), "{text}");
    sandbox.run(["autostart", "status"]).ok().prints("on\n");
    tray.kill();

    fs::write(&entry, text.replace(&program.display().to_string(), "/moved/pierhead-tray")).unwrap();
    let (tray, icon) = Tray::on(&sandbox, &bus, &panel);
    icon.wait_row(&["Start at login"], |row| row.is_on);
    assert_eq!(fs::read_to_string(&entry).unwrap(), text);
    tray.kill();

    fs::write(&entry, format!("{text}Hidden=true\n")).unwrap();
    let (_tray, icon) = Tray::on(&sandbox, &bus, &panel);
    icon.wait_row(&["Start at login"], |row| !row.is_on);
    icon.click(&["Start at login"]);
    // The tick follows the click at once, and what it stands for a moment later.
    icon.wait("it to be on", || (sandbox.run(["autostart", "status"]).line() == "on").then_some(()));
    icon.wait_row(&["Start at login"], |row| row.is_on && row.is_enabled);
    icon.click(&["Start at login"]);
    icon.wait("it to be off", || (!entry.exists()).then_some(()));
    icon.wait_row(&["Start at login"], |row| !row.is_on && row.is_enabled);
}
