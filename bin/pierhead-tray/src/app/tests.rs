//! What follows from what, as tables.

use pierhead::model::{Exit, Origin};

use super::*;

/// A server in a state, as the daemon would show it.
pub(crate) fn server(id: &str, state: State) -> Status {
    let (repo, name) = id.split_once('/').unwrap();
    let is_ready = state == State::Ready;
    Status {
        repo: repo.to_owned(),
        root: format!("/src/{repo}").into(),
        server: name.to_owned(),
        default: true,
        state,
        origin: is_ready.then_some(Origin::Spawned),
        pid: is_ready.then_some(4242),
        host: is_ready.then(|| "127.0.0.1".to_owned()),
        port: is_ready.then_some(21_734),
        url: is_ready.then(|| "http://127.0.0.1:21734/".to_owned()),
        since: Some(Timestamp(0)),
        verdict: None,
        reason: None,
        last_lines: Vec::new(),
        missing: false,
        exit: Exit::default(),
        restarts: 0,
        next_try: None,
        command: Some("npm run dev".to_owned()),
        also: Vec::new(),
        watched: false,
        trusted: true,
        port_file: "/src/.pm/server.json".into(),
        log: Some("/state/output.log".into()),
    }
}

fn app(servers: &[(&str, State)]) -> App {
    let mut app = App::new(Memory::default(), Manner::Sentence, "/state/servers".into());
    let servers = servers.iter().map(|(id, state)| server(id, *state)).collect();
    app.on(Event::Connected(servers), Timestamp(0));
    app
}

fn on(app: &mut App, event: Event) -> Vec<Action> {
    app.on(event, Timestamp(0))
}

/// What follows from a click, without what is only remembered.
fn click(app: &mut App, id: &str) -> Vec<Action> {
    let mut actions = on(app, Event::Clicked(id.to_owned()));
    actions.retain(|action| !matches!(action, Action::Remember(_) | Action::Change(_)));
    actions
}

fn ask(verb: Verb, targets: &[&str]) -> Vec<Action> {
    let targets = targets.iter().map(|target| (*target).to_owned()).collect();
    vec![Action::Ask(verb, Request { targets, ..Request::default() })]
}

fn does(id: &str, deed: Deed) -> Vec<Action> {
    vec![Action::Do(id.parse().unwrap(), deed)]
}

#[test]
fn a_click_does_what_its_id_says() {
    let id = || "shop/web".parse::<ServerId>().unwrap();
    let url = || "http://127.0.0.1:21734/".to_owned();
    let cases = [
        ("open:shop/web", does("open:shop/web", Deed::Open(id()))),
        ("start:blog/web", ask(Verb::Up, &["blog/web"])),
        ("stop:shop/web", ask(Verb::Down, &["shop/web"])),
        ("restart:shop/web", ask(Verb::Restart, &["shop/web"])),
        ("restart:blog/web", ask(Verb::Up, &["blog/web"])),
        ("logs:shop/web", does("logs:shop/web", Deed::ShowLog(id(), "/state/output.log".into()))),
        ("copy-url:shop/web", does("copy-url:shop/web", Deed::Copy(url()))),
        ("copy-url:blog/web", vec![]),
        ("folder:shop", does("folder:shop", Deed::ShowFolder("/src/shop".into()))),
        ("terminal:shop", does("terminal:shop", Deed::OpenTerminal("/src/shop".into()))),
        ("trust:shop", does("trust:shop", Deed::Trust("shop".to_owned()))),
        ("remove:shop", does("remove:shop", Deed::Remove("shop".to_owned()))),
        ("add", does("add", Deed::Add)),
        ("start-all", ask(Verb::Up, &["blog/web"])),
        ("stop-all", ask(Verb::Down, &["shop/web"])),
        ("at-login", does("at-login", Deed::SetAtLogin(true))),
        ("logs-folder", does("logs-folder", Deed::ShowFolder("/state/servers".into()))),
        ("quit", does("quit", Deed::AskHowToEnd(1))),
        // A menu is shown a moment longer than what it shows.
        ("logs:gone/web", vec![]),
        ("folder:gone", vec![]),
        ("head", vec![]),
    ];
    for (id, expected) in cases {
        let mut app = app(&[("shop/web", State::Ready), ("blog/web", State::Stopped)]);
        assert_eq!(click(&mut app, id), expected, "{id}");
    }
}

#[test]
fn a_change_is_drawn_once_and_in_place() {
    let mut app = app(&[("blog/web", State::Stopped), ("shop/web", State::Stopped)]);
    let actions = on(&mut app, Event::Changed(Box::new(server("shop/web", State::Ready))));
    let [Action::Change(patches), Action::Light(Lamp::Ready), Action::Tip(tip)] = &actions[..] else {
        panic!("{actions:?}");
    };
    assert_eq!(tip, "1 ready");
    assert!(patches.iter().all(|patch| !patch.id.contains("blog")), "{patches:?}");
    assert_eq!(on(&mut app, Event::Changed(Box::new(server("shop/web", State::Ready)))), []);
    assert_eq!(on(&mut app, Event::Tick), []);
}

#[test]
fn only_a_repo_that_comes_or_goes_makes_a_new_menu() {
    let mut app = app(&[("shop/web", State::Stopped)]);
    let shows = |actions: &[Action]| actions.iter().any(|action| matches!(action, Action::Show(_)));
    assert!(shows(&on(&mut app, Event::Changed(Box::new(server("blog/web", State::Stopped))))));
    assert!(!shows(&on(&mut app, Event::Changed(Box::new(server("blog/web", State::Failed))))));
    assert!(!shows(&on(&mut app, Event::Disconnected)));
    assert!(shows(&on(&mut app, Event::Removed("blog/web".parse().unwrap()))));
    assert!(!shows(&on(&mut app, Event::Removed("blog/web".parse().unwrap()))));
}

#[test]
fn while_no_daemon_answers_the_menu_says_so_and_recovers() {
    let mut app = app(&[("shop/web", State::Ready)]);
    assert_eq!((app.tip(), &*app.shown()[0].title), ("1 ready", "1 ready"));
    let actions = on(&mut app, Event::Disconnected);
    assert!(actions.contains(&Action::Light(Lamp::Off)), "{actions:?}");
    assert_eq!((app.tip(), &*app.shown()[0].title), ("connecting…", "connecting…"));
    let actions = on(&mut app, Event::Connected(vec![server("shop/web", State::Ready)]));
    assert!(actions.contains(&Action::Light(Lamp::Ready)), "{actions:?}");
    assert_eq!(app.tip(), "1 ready");
}

#[test]
fn an_age_goes_on_by_itself() {
    let mut app = app(&[("shop/web", State::Ready)]);
    let actions = app.on(Event::Tick, Timestamp(120_000));
    let [Action::Change(patches)] = &actions[..] else { panic!("{actions:?}") };
    assert_eq!(patches[0].title.as_deref(), Some("ready on 21734 · 2 min"));
    assert_eq!(patches.len(), 1);
}

#[test]
fn a_failure_is_notified_unless_that_is_off() {
    let mut app = app(&[("shop/web", State::Ready)]);
    let failed = || Event::Changed(Box::new(server("shop/web", State::Failed)));
    let ready = || Event::Changed(Box::new(server("shop/web", State::Ready)));
    let notified = |actions: Vec<Action>| actions.iter().any(|action| matches!(action, Action::Notify(_)));
    assert!(notified(on(&mut app, failed())));
    on(&mut app, ready());
    let actions = on(&mut app, Event::Clicked("notifications".to_owned()));
    assert!(actions.iter().any(|action| matches!(action, Action::Remember(memory) if !memory.notifications)));
    assert!(!notified(app.on(failed(), Timestamp(1_000_000))));
}

#[test]
fn what_was_so_before_is_no_news() {
    let mut app = App::new(Memory::default(), Manner::Sentence, "/logs".into());
    let actions = on(&mut app, Event::Connected(vec![server("shop/web", State::Failed)]));
    assert!(!actions.iter().any(|action| matches!(action, Action::Notify(_))), "{actions:?}");
}

#[test]
fn the_icon_opens_what_was_used_last() {
    let ready = [("blog/web", State::Ready), ("shop/web", State::Ready)];
    let opened = |app: &mut App| {
        let actions = on(app, Event::IconClicked);
        actions.into_iter().find_map(|action| match action {
            Action::Do(_, Deed::Open(id)) => Some(id.to_string()),
            _ => None,
        })
    };
    let mut used = app(&ready);
    click(&mut used, "stop:shop/web");
    assert_eq!(opened(&mut used).as_deref(), Some("shop/web"));
    let mut fresh = app(&ready);
    on(&mut fresh, Event::Changed(Box::new(Status { since: Some(Timestamp(5)), ..server("shop/web", State::Ready) })));
    assert_eq!(opened(&mut fresh).as_deref(), Some("shop/web"));
    assert_eq!(opened(&mut app(&[("shop/web", State::Stopped)])), None);
}

#[test]
fn quitting_asks_once_and_only_when_something_runs() {
    let mut idle = app(&[("shop/web", State::Stopped)]);
    assert_eq!(click(&mut idle, "quit"), [Action::Quit(Ending::LeaveServers)]);
    let mut app = app(&[("shop/web", State::Ready)]);
    assert_eq!(click(&mut app, "quit"), does("quit", Deed::AskHowToEnd(1)));
    assert_eq!(click(&mut app, "quit"), []);
    assert_eq!(on(&mut app, Event::Ending(Ending::Stay)), []);
    on(&mut app, Event::Done(Command::Quit));
    assert_eq!(click(&mut app, "quit"), does("quit", Deed::AskHowToEnd(1)));
    assert_eq!(on(&mut app, Event::Ending(Ending::StopServers)), [Action::Quit(Ending::StopServers)]);
}

#[test]
fn what_is_being_done_is_not_done_twice() {
    let mut app = app(&[("shop/web", State::Ready)]);
    assert_eq!(click(&mut app, "remove:shop"), does("remove:shop", Deed::Remove("shop".to_owned())));
    assert_eq!(click(&mut app, "remove:shop"), []);
    let actions = on(&mut app, Event::Done(Command::Remove("shop".to_owned())));
    let [Action::Change(patches)] = &actions[..] else { panic!("{actions:?}") };
    assert_eq!((patches[0].id.as_str(), patches[0].is_enabled), ("remove:shop", Some(true)));
    assert_eq!(click(&mut app, "remove:shop"), does("remove:shop", Deed::Remove("shop".to_owned())));
}

#[test]
fn starting_at_login_shows_as_it_was_read() {
    let mut app = app(&[]);
    let actions = on(&mut app, Event::AtLogin(true));
    let [Action::Change(patches)] = &actions[..] else { panic!("{actions:?}") };
    assert_eq!((patches[0].id.as_str(), patches[0].is_checked), ("at-login", Some(true)));
    assert_eq!(click(&mut app, "at-login"), does("at-login", Deed::SetAtLogin(false)));
}
