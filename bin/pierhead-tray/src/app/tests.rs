//! What follows from what, as tables.

use super::*;
use crate::example::server;

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
fn nothing_moves_while_the_menu_may_be_open() {
    let ids: Vec<String> = (0..20).map(|number| format!("r{number:02}/web")).collect();
    let servers: Vec<(&str, State)> = ids.iter().map(|id| (id.as_str(), State::Stopped)).collect();
    let mut app = app(&servers);
    let at_root = |app: &App| app.shown().iter().any(|entry| entry.id == "repo:r19");
    assert!(!at_root(&app));
    for state in [State::Starting, State::Ready] {
        let actions = on(&mut app, Event::Changed(Box::new(server("r19/web", state))));
        assert!(actions.iter().all(|action| !matches!(action, Action::Show(_))), "{state}: {actions:?}");
    }
    on(&mut app, Event::Tick);
    assert!(!at_root(&app), "it is where a person sees it");
    on(&mut app, Event::Clicked("logs:r19/web".to_owned()));
    assert!(at_root(&app), "the click has closed the menu");
    on(&mut app, Event::Changed(Box::new(server("r19/web", State::Stopped))));
    assert!(at_root(&app));
}

#[test]
fn a_failed_server_is_no_reason_to_ask_at_the_end_and_can_be_stopped() {
    let mut app = app(&[("shop/web", State::Failed)]);
    assert_eq!(click(&mut app, "stop:shop/web"), ask(Verb::Down, &["shop/web"]));
    assert_eq!(click(&mut app, "stop-all"), ask(Verb::Down, &["shop/web"]));
    assert_eq!(click(&mut app, "quit"), [Action::Quit(Ending::LeaveServers)]);
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

fn offer(name: &str) -> Offer {
    let repo = name.split('@').next().unwrap().to_owned();
    Offer { repo, name: name.to_owned(), root: format!("/src/{name}").into(), branch: None }
}

#[test]
fn a_worktree_that_comes_is_told_of_once_and_added_by_a_click() {
    let mut app = app(&[("shop/web", State::Ready)]);
    let told = |actions: &[Action]| -> Vec<String> {
        let notice =
            |action: &Action| if let Action::Notify(notice) = action { Some(notice.body.clone()) } else { None };
        actions.iter().filter_map(notice).collect()
    };
    assert!(told(&on(&mut app, Event::Offered(vec![offer("shop@old")]))).is_empty(), "it was there before");
    let both = vec![offer("shop@old"), offer("shop@new"), offer("shop@newer")];
    let actions = on(&mut app, Event::Offered(both.clone()));
    assert_eq!(told(&actions), ["shop@new and 1 more"]);
    assert!(actions.iter().any(|action| matches!(action, Action::Show(_))), "the menu has an entry for each");
    assert!(on(&mut app, Event::Offered(both)).is_empty());
    let id = "add-worktree:shop@new";
    assert_eq!(click(&mut app, id), does(id, Deed::AddWorktree("shop@new".to_owned())));
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
    let actions = on(&mut app, Event::Ending(Ending::StopServers));
    let [Action::Remember(memory), Action::Quit(Ending::StopServers), ..] = &actions[..] else { panic!("{actions:?}") };
    assert_eq!(memory.at_quit, AtQuit::StopServers);
}

#[test]
fn an_answer_is_kept_until_asking_is_wanted_again() {
    let mut app = app(&[("shop/web", State::Ready)]);
    let asks = |app: &App| app.scene(Timestamp(0)).switches.asks_at_quit;
    on(&mut app, Event::Ending(Ending::StopServers));
    assert!(!asks(&app));
    assert_eq!(click(&mut app, "quit"), [Action::Quit(Ending::StopServers)]);
    click(&mut app, "ask-at-quit");
    assert!(asks(&app));
    assert_eq!(click(&mut app, "quit"), does("quit", Deed::AskHowToEnd(1)));
    // Where nobody can be asked nothing is stopped, and nothing was answered.
    assert_eq!(on(&mut app, Event::NobodyAnswers), [Action::Quit(Ending::LeaveServers)]);
    assert!(asks(&app));
    // Who wants no question and has never answered one loses no server.
    click(&mut app, "ask-at-quit");
    on(&mut app, Event::Done(Command::Quit));
    assert_eq!(click(&mut app, "quit"), [Action::Quit(Ending::LeaveServers)]);
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

#[test]
fn what_is_drawn_in_part_is_what_would_be_drawn_as_a_whole() {
    let states = [State::Stopped, State::Starting, State::Ready, State::Failed, State::Waiting, State::Stopping];
    let many: Vec<String> = (0..24).flat_map(|n| [format!("r{n:02}/api"), format!("r{n:02}/web")]).collect();
    let mut app = App::new(Memory::default(), Manner::Sentence, "/logs".into());
    let servers = many.iter().map(|id| server(id, State::Stopped)).collect();
    on(&mut app, Event::Connected(servers));
    let mut panel = app.shown.clone();
    // A walk through every repo and all that can happen to it, in an order that repeats itself late.
    for step in 0..400_usize {
        let id = &many[step * 7 % many.len()];
        let repo = id.split('/').next().unwrap().to_owned();
        let event = match step * 5 % 13 {
            0 => Event::Clicked(format!("pin:{repo}")),
            1 => Event::Clicked(format!("remove:{repo}")),
            2 => Event::Done(Command::Remove(repo)),
            3 => Event::Removed(id.parse().unwrap()),
            4 => Event::Disconnected,
            5 => Event::Connected(app.servers.clone()),
            6 => Event::AtLogin(step % 2 == 0),
            7 => Event::Clicked(format!("open:{id}")),
            8 => Event::Done(Command::Open(id.parse().unwrap())),
            _ => Event::Changed(Box::new(server(id, states[step / 3 % states.len()]))),
        };
        for action in on(&mut app, event) {
            match action {
                Action::Show(menu) => panel = menu,
                Action::Change(patches) => patches.into_iter().for_each(|patch| change(&mut panel, &patch)),
                _ => {}
            }
        }
        assert_eq!(app.shown, menu::build(&app.scene(Timestamp(0))), "at {step}");
        assert_eq!(panel, app.shown, "at {step}");
    }
}

fn change(entries: &mut [Entry], patch: &Patch) {
    for entry in entries {
        if entry.id == patch.id {
            entry.apply(patch.clone());
        }
        if let menu::Kind::Submenu(inside) = &mut entry.kind {
            change(inside, patch);
        }
    }
}
