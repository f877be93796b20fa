//! Menus as people see them, as text.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::*;

const HOUR: u64 = 3_600_000;
const NOW: Timestamp = Timestamp(100 * HOUR);

fn server(id: &str, state: State) -> Status {
    let shown = crate::example::told(id, state, Timestamp(98 * HOUR));
    Status { since: shown.since.filter(|_| state != State::Stopped), ..shown }
}

fn menu_of(servers: &[Status], change: impl FnOnce(&mut Scene<'_>)) -> Vec<Entry> {
    menu_while(servers, &BTreeSet::new(), change)
}

fn menu_while(servers: &[Status], busy: &BTreeSet<Command>, change: impl FnOnce(&mut Scene<'_>)) -> Vec<Entry> {
    let front = choose_front(servers, &BTreeSet::new(), &[], &[]);
    let pinned = BTreeSet::new();
    let mut scene = Scene {
        servers,
        offers: &[],
        is_connected: true,
        front: &front,
        pinned: &pinned,
        switches: Switches { at_login: false, notifies: true, asks_at_quit: true },
        busy,
        manner: Manner::Sentence,
        now: NOW,
    };
    change(&mut scene);
    build(&scene)
}

/// As a person sees it: what is disabled in brackets, what is on with a tick.
fn text(entries: &[Entry]) -> String {
    fn push(text: &mut String, entries: &[Entry], depth: usize) {
        for entry in entries {
            let gap = "  ".repeat(depth);
            let sign = entry.lamp.map(|lamp| format!("{} ", lamp.sign())).unwrap_or_default();
            let title = format!("{sign}{}", entry.title);
            let title = if entry.is_enabled { title } else { format!("[{title}]") };
            match &entry.kind {
                Kind::Separator => _ = writeln!(text, "{gap}--"),
                Kind::Check(true) => _ = writeln!(text, "{gap}{title} ✓"),
                Kind::Item | Kind::Check(false) => _ = writeln!(text, "{gap}{title}"),
                Kind::Submenu(inside) => {
                    let _ = writeln!(text, "{gap}{title} ▸");
                    push(text, inside, depth + 1);
                }
            }
        }
    }
    let mut shown = String::new();
    push(&mut shown, entries, 0);
    shown
}

#[test]
fn the_menu_reads_so() {
    let servers =
        [server("blog/web", State::Failed), server("shop/api", State::Stopped), server("shop/web", State::Ready)];
    let expected = "\
[1 ready · 1 failed]
--
✕ blog · failed ▸
  [failed · ended with exit code 1 · 2 h]
  --
  Open
  Start
  Stop
  [Restart]
  --
  [Watch it]
  Show logs
  [Copy URL]
  Why?
  [Trust…]
  --
  Open folder
  Open terminal here
  Remove…
● shop · 1 of 2 ready ▸
  ○ api ▸
    [stopped]
    --
    Open
    Start
    [Stop]
    [Restart]
    --
    [Watch it]
    Show logs
    [Copy URL]
    [Why?]
  ● web · 21734 ▸
    [ready on 21734 · 2 h]
    --
    Open
    [Start]
    Stop
    Restart
    --
    [Watch it]
    Show logs
    Copy URL
    [Why?]
  --
  [Trust…]
  --
  Open folder
  Open terminal here
  Remove…
--
Add repository…
Start all
Stop all
--
Start at login
Notifications ✓
Ask when quitting ✓
Show logs folder
About Pierhead
--
Quit
";
    assert_eq!(text(&menu_of(&servers, |_| {})), expected);
}

#[test]
fn titles_follow_the_platforms_manner() {
    let titles = text(&menu_of(&[server("shop/web", State::Ready)], |scene| scene.manner = Manner::Title));
    for title in
        ["Show Logs", "Copy URL", "Open Terminal Here", "Add Repository…", "Start at Login", "Show Logs Folder"]
    {
        assert!(titles.contains(title), "{title} is not in\n{titles}");
    }
}

#[test]
fn the_head_says_what_there_is() {
    let head =
        |servers: &[Status], is_connected| menu_of(servers, |scene| scene.is_connected = is_connected)[0].clone();
    let ready = [server("shop/web", State::Ready)];
    assert_eq!(head(&ready, true).title, "1 ready");
    assert_eq!(head(&ready, false).title, "connecting…");
    assert_eq!(head(&[], true).title, "no repositories yet");
    assert_eq!(head(&[server("shop/web", State::Stopped)], true).title, "nothing runs");
    let all = [State::Waiting, State::NotServing, State::Ready, State::Starting, State::Unhealthy, State::Stopping];
    let servers: Vec<Status> = all.into_iter().map(|state| server("shop/web", state)).collect();
    assert_eq!(counts(&servers), "1 ready · 1 unhealthy · 1 not serving · 1 starting · 1 waiting · 1 stopping");
}

/// What it is about, how such a server comes to be, and what can be clicked then.
type Case = (&'static str, fn(&mut Status), &'static [&'static str]);

#[test]
fn what_makes_no_sense_is_disabled() {
    let cases: [Case; 11] = [
        ("stopped", |_| {}, &["open", "start", "logs"]),
        (
            "external",
            |s| (s.state, s.origin, s.url) = (State::Ready, Some(Origin::External), Some("http://x".into())),
            &["open", "stop", "logs", "copy-url"],
        ),
        (
            "found",
            |s| (s.state, s.origin, s.log, s.default) = (State::Ready, Some(Origin::External), None, false),
            &["stop", "adopt"],
        ),
        (
            "watched",
            |s| {
                (s.state, s.origin, s.log) = (State::Ready, Some(Origin::External), None);
                (s.default, s.watched) = (false, true);
            },
            &["stop"],
        ),
        ("starting", |s| s.state = State::Starting, &["stop", "restart", "logs"]),
        ("stopping", |s| s.state = State::Stopping, &["logs"]),
        ("waiting", |s| s.state = State::Waiting, &["open", "start", "stop", "restart", "logs", "why"]),
        ("not approved", |s| s.trusted = false, &["logs", "trust"]),
        ("no command", |s| s.command = None, &["logs"]),
        ("changed while it runs", |s| (s.state, s.trusted) = (State::Starting, false), &["stop", "logs", "trust"]),
        ("missing", |s| (s.missing, s.log) = (true, None), &["why"]),
    ];
    for (name, change, expected) in cases {
        let mut server = server("shop/web", State::Stopped);
        change(&mut server);
        let menu = menu_of(&[server], |_| {});
        let Kind::Submenu(inside) = &menu[2].kind else { panic!("no submenu") };
        let of_server = |entry: &&Entry| !["folder:shop", "terminal:shop", "remove:shop"].contains(&entry.id.as_str());
        let enabled: Vec<&str> = inside
            .iter()
            .filter(|entry| entry.is_enabled)
            .filter(of_server)
            .filter_map(|entry| entry.id.split(':').next())
            .collect();
        assert_eq!(enabled, expected, "{name}");
    }
}

#[test]
fn what_is_being_done_cannot_be_asked_for_again() {
    let servers = [server("shop/web", State::Ready)];
    let busy = BTreeSet::from([Command::Remove("shop".to_owned()), Command::Quit]);
    let Difference::InPlace(patches) = difference(&menu_of(&servers, |_| {}), &menu_while(&servers, &busy, |_| {}))
    else {
        panic!("the shape changed");
    };
    let disabled = patches.iter().filter(|patch| patch.is_enabled == Some(false));
    assert_eq!(disabled.map(|patch| patch.id.as_str()).collect::<Vec<_>>(), ["remove:shop", "quit"]);
    assert_eq!(patches.len(), 2);
}

#[test]
fn a_state_changes_entries_in_place() {
    let (before, after) = ([server("shop/web", State::Stopped)], [server("shop/web", State::Ready)]);
    let Difference::InPlace(patches) = difference(&menu_of(&before, |_| {}), &menu_of(&after, |_| {})) else {
        panic!("the shape changed");
    };
    let ids: Vec<&str> = patches.iter().map(|patch| patch.id.as_str()).collect();
    assert_eq!(
        ids,
        [
            "head",
            "repo:shop",
            "status:shop/web",
            "start:shop/web",
            "stop:shop/web",
            "restart:shop/web",
            "copy-url:shop/web",
            "start-all",
            "stop-all"
        ]
    );
    assert_eq!(patches[2].title.as_deref(), Some("ready on 21734 · 2 h"));
    assert_eq!((patches[3].title.as_deref(), patches[3].is_enabled), (None, Some(false)));
    let same = menu_of(&after, |_| {});
    assert_eq!(difference(&same, &menu_of(&after, |_| {})), Difference::InPlace(Vec::new()));
}

#[test]
fn a_server_more_is_another_shape() {
    let one = [server("shop/web", State::Ready)];
    let two = [server("shop/api", State::Ready), server("shop/web", State::Ready)];
    assert_eq!(difference(&menu_of(&one, |_| {}), &menu_of(&two, |_| {})), Difference::Shape);
    let other = [server("blog/web", State::Ready)];
    assert_eq!(difference(&menu_of(&one, |_| {}), &menu_of(&other, |_| {})), Difference::Shape);
}

fn many(count: usize) -> Vec<Status> {
    (0..count)
        .map(|n| Status {
            root: format!("/home/ann/src/g{}/r{n:02}", n % 2).into(),
            ..server(&format!("r{n:02}/web"), State::Stopped)
        })
        .collect()
}

#[test]
fn fifteen_repos_stand_at_the_root_and_the_rest_below_their_folders() {
    let submenus = |servers: &[Status]| -> Vec<String> {
        menu_of(servers, |_| {})
            .into_iter()
            .filter(|entry| matches!(entry.kind, Kind::Submenu(_)))
            .map(|entry| entry.id)
            .collect()
    };
    assert_eq!(submenus(&many(15)).len(), 15);
    assert!(!submenus(&many(15)).contains(&"all".to_owned()));
    let ids = submenus(&many(20));
    assert_eq!((ids.len(), ids.last().map(String::as_str)), (16, Some("all")));
    let menu = text(&menu_of(&many(20), |_| {}));
    let groups: Vec<&str> = menu.lines().filter(|line| line.contains("…/")).map(str::trim).collect();
    assert_eq!(groups, ["○ …/src/g0 ▸", "○ …/src/g1 ▸"]);
    assert_eq!(menu.matches("Keep at the top").count(), 20);
}

#[test]
fn who_runs_is_pinned_or_was_used_last_stands_at_the_root() {
    let mut servers = many(30);
    servers[29].state = State::Ready;
    servers[28].state = State::Failed;
    let pinned = BTreeSet::from(["r27".to_owned()]);
    let front = choose_front(&servers, &pinned, &["r26".to_owned(), "gone".to_owned()], &[]);
    assert_eq!(front.len(), ROOM);
    assert_eq!(front[ROOM - 4..], ["r26", "r27", "r28", "r29"]);
}

#[test]
fn a_server_that_stops_moves_nothing() {
    let mut servers = many(30);
    servers[29].state = State::Ready;
    let before = choose_front(&servers, &BTreeSet::new(), &[], &[]);
    assert!(before.contains(&"r29".to_owned()));
    servers[29].state = State::Stopped;
    assert_eq!(choose_front(&servers, &BTreeSet::new(), &[], &before), before);
}

#[test]
fn what_starts_below_all_repositories_stays_there_and_shows_outside() {
    let mut servers = many(20);
    let front = choose_front(&servers, &BTreeSet::new(), &[], &[]);
    let mut menu = menu_of(&servers, |_| {});
    servers[19] = Status { root: servers[19].root.clone(), ..server("r19/web", State::Ready) };
    let (pinned, busy) = (BTreeSet::new(), BTreeSet::new());
    let scene = Scene {
        servers: &servers,
        offers: &[],
        is_connected: true,
        front: &front,
        pinned: &pinned,
        switches: Switches { at_login: false, notifies: true, asks_at_quit: true },
        busy: &busy,
        manner: Manner::Sentence,
        now: NOW,
    };
    let Difference::InPlace(patches) = refresh(&mut menu, &scene, &BTreeSet::from(["r19".to_owned()])) else {
        panic!("it moved")
    };
    let lit: Vec<&str> = patches.iter().filter(|p| p.lamp == Some(Lamp::Ready)).map(|p| p.id.as_str()).collect();
    assert_eq!(lit, ["repo:r19", "group:/home/ann/src/g1", "all"]);
    assert_eq!(menu, build(&scene), "as if it were made anew");
}

/// Every id once, and each that can be clicked a command.
fn walk(entries: &[Entry], seen: &mut BTreeSet<String>) {
    for entry in entries.iter().filter(|entry| entry.kind != Kind::Separator) {
        assert!(seen.insert(entry.id.clone()), "twice: {}", entry.id);
        let command = entry.id.parse::<Command>();
        match &entry.kind {
            Kind::Submenu(inside) => {
                assert!(command.is_err(), "{} is clicked open", entry.id);
                walk(inside, seen);
            }
            _ if entry.id == "head" || entry.id.starts_with("status:") => assert!(command.is_err()),
            _ => assert_eq!(command.unwrap().to_string(), entry.id),
        }
    }
}

#[test]
fn ids_carry_commands_and_are_unique() {
    let mut servers = many(20);
    servers.push(server("r00/api", State::Ready));
    servers.sort_by_key(Status::id);
    let mut seen = BTreeSet::new();
    walk(&menu_of(&servers, |_| {}), &mut seen);
    for id in ["open:../x", "open:shop", "remove:a/b", "start:shop/web ", ""] {
        assert!(id.parse::<Command>().is_err(), "{id}");
    }
}

#[test]
fn the_lamp_shows_the_most_urgent() {
    let cases: [(&[State], Lamp); 6] = [
        (&[], Lamp::Off),
        (&[State::Stopped], Lamp::Off),
        (&[State::Stopped, State::Ready], Lamp::Ready),
        (&[State::Ready, State::Waiting], Lamp::Busy),
        (&[State::Starting, State::Failed, State::Ready], Lamp::Failed),
        (&[State::NotServing], Lamp::Failed),
    ];
    for (states, expected) in cases {
        let servers: Vec<Status> = states.iter().map(|state| server("shop/web", *state)).collect();
        assert_eq!(lamp(&servers), expected, "{states:?}");
    }
}

#[test]
fn why_tells_the_reason_and_the_last_words() {
    let expected = "\
blog/web is failed · ended with exit code 1 · 2 h
Why: ended with exit code 1
It ended with exit code 1.

It said last:
no such table";
    assert_eq!(why(&server("blog/web", State::Failed), NOW), expected);
}

#[test]
fn what_a_repo_says_stays_in_its_row() {
    let mut failed = server("blog/web", State::Failed);
    failed.reason = Some(format!("a\u{1b}[2J{}\nsecond line", "b".repeat(200)));
    let menu = menu_of(&[failed], |_| {});
    let longest = text(&menu).lines().map(|line| line.chars().count()).max();
    assert!(
        longest < Some(90) && !text(&menu).contains('\u{1b}') && !text(&menu).contains("second"),
        "{}",
        text(&menu)
    );
}

#[test]
fn an_age_is_told_in_one_unit_and_not_below_a_minute() {
    let cases = [(59, None), (60, Some("1 min")), (7_300, Some("2 h")), (200_000, Some("2 d"))];
    for (seconds, expected) in cases {
        assert_eq!(coarse_age(Timestamp(0), Timestamp(seconds * 1000)).as_deref(), expected);
    }
}
