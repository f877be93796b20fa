//! Tables for the fleet: a row for each race that is known. Schedules that nobody thought of are in `tests/sim`.

use std::collections::BTreeMap;

use super::*;
use crate::model::{Exit, Instance, Moment, ServerId, Signal, State, Timestamp, Unsure, Verdict};

fn process(pid: u32) -> Instance {
    Instance { pid, start: u64::from(pid), boot_id: "boot".to_owned(), pidfd_inode: None, pid_ns: None }
}

fn socket(port: u16, pid: u32) -> Socket {
    Socket { address: [127, 0, 0, 1].into(), port, id: u64::from(port), owner: process(pid) }
}

/// A fleet, its clock, and what it wanted done.
struct Bench {
    fleet: Fleet,
    now_ms: u64,
    effects: Vec<Effect>,
    /// Port files are written as soon as that is wanted.
    writes: bool,
}

/// What is found after the port file of `socket` was written.
fn written(id: &ServerId, socket: &Socket) -> Event {
    let found = Found {
        verdict: Verdict::Live,
        pid: socket.owner.pid,
        at: Some((socket.address, socket.port)),
        owner: Some(socket.owner.clone()),
        is_ours: true,
        is_external: false,
        written_at: None,
    };
    Event::FileFound { id: id.clone(), found: Some(found) }
}

fn web() -> ServerId {
    ServerId::new("r", "web")
}

impl Bench {
    fn new(toml: &str) -> Self {
        let mut bench = Self { fleet: Fleet::new(), now_ms: 0, effects: Vec::new(), writes: true };
        bench.tell(Event::Configured {
            repo: "r".to_owned(),
            root: "/r".into(),
            plans: Plan::all_of(toml),
            problem: None,
        });
        bench
    }

    fn moment(&self) -> Moment {
        Moment { mono_ms: self.now_ms, wall: Timestamp(1_000_000 + self.now_ms) }
    }

    fn tell(&mut self, event: Event) -> &mut Self {
        let now = self.moment();
        self.effects = self.fleet.handle(event, now);
        let answer = |effect: &Effect| match effect {
            Effect::WriteFile { id, socket } if self.writes => Some(written(id, socket)),
            Effect::CheckFile { id } if self.writes => Some(Event::FileFound { id: id.clone(), found: None }),
            _ => None,
        };
        for answer in self.effects.iter().filter_map(answer).collect::<Vec<_>>() {
            let more = self.fleet.handle(answer, now);
            self.effects.extend(more);
        }
        self
    }

    fn ask(&mut self, name: &str, wish: Wish) -> &mut Self {
        self.tell(Event::Asked { ids: vec![ServerId::new("r", name)], wish })
    }

    /// The generation of the spawn that was just asked for.
    fn spawn_of(&self, name: &str) -> Option<u64> {
        self.effects.iter().find_map(|effect| match effect {
            Effect::Spawn { id, generation, .. } if id.server == name => Some(*generation),
            _ => None,
        })
    }

    fn spawned(&mut self, name: &str, generation: u64) -> &mut Self {
        let spawn = Spawn { shim: process(100 + u32::try_from(generation).unwrap()), leader: None, asked_port: 20_000 };
        self.tell(Event::Spawned { id: ServerId::new("r", name), generation, outcome: Ok(spawn) })
    }

    fn seen(&mut self, name: &str, generation: u64, sockets: Vec<Socket>) -> &mut Self {
        let sight = Sight { sockets, ..Sight::default() };
        self.tell(Event::Seen { id: ServerId::new("r", name), generation, sight })
    }

    fn ended(&mut self, name: &str, generation: u64, code: i32) -> &mut Self {
        let exit = Exit::with_code(code, self.moment().wall);
        self.tell(Event::TreeEnded { id: ServerId::new("r", name), generation, end: exit.into() })
    }

    /// Starts a server and makes it ready; gives its generation.
    fn ready(&mut self, name: &str) -> u64 {
        self.ask(name, Wish::Up);
        let generation = self.spawn_of(name).expect("it is started");
        self.spawned(name, generation).seen(name, generation, vec![socket(20_000, 200)]);
        generation
    }

    fn after(&mut self, ms: u64) -> &mut Self {
        self.now_ms += ms;
        self.tell(Event::Tick)
    }

    fn state(&self, name: &str) -> State {
        self.fleet.status(&ServerId::new("r", name)).unwrap().state
    }

    fn port(&self, name: &str) -> Option<u16> {
        self.fleet.status(&ServerId::new("r", name)).unwrap().port
    }

    fn reason(&self, name: &str) -> String {
        self.fleet.status(&ServerId::new("r", name)).unwrap().reason.clone().unwrap_or_default()
    }

    fn signals(&self) -> Vec<Signal> {
        let signal = |effect: &Effect| match effect {
            Effect::Signal { signal, .. } => Some(*signal),
            _ => None,
        };
        self.effects.iter().filter_map(signal).collect()
    }

    fn does(&self, wanted: impl Fn(&Effect) -> bool) -> bool {
        self.effects.iter().any(wanted)
    }
}

const WEB: &str = "[servers.web]\ncommand = 'x'";

#[test]
fn a_server_is_ready_when_its_tree_listens_and_its_file_is_written_then() {
    let mut bench = Bench::new(WEB);
    bench.ask("web", Wish::Up);
    let generation = bench.spawn_of("web").unwrap();
    bench.spawned("web", generation);
    assert_eq!(bench.state("web"), State::Starting);
    bench.seen("web", generation, vec![]);
    assert_eq!(bench.state("web"), State::Starting);
    bench.seen("web", generation, vec![socket(3000, 200)]);
    assert_eq!(bench.state("web"), State::Ready);
    assert!(bench.does(|e| matches!(e, Effect::WriteFile { socket, .. } if socket.port == 3000)));
    let status = bench.fleet.status(&web()).unwrap();
    assert_eq!((status.pid, status.url.as_deref()), (Some(200), Some("http://127.0.0.1:3000/")));
}

#[test]
fn a_port_that_moves_is_followed_and_a_reload_is_forgiven() {
    let mut bench = Bench::new(WEB);
    let generation = bench.ready("web");
    bench.seen("web", generation, vec![socket(20_001, 200)]);
    assert!(bench.does(|e| matches!(e, Effect::WriteFile { socket, .. } if socket.port == 20_001)));
    bench.seen("web", generation, vec![]);
    assert!(bench.does(|e| matches!(e, Effect::WithdrawFile { .. })), "the file goes at once");
    assert_eq!(bench.state("web"), State::Ready, "the state forgives two seconds");
    bench.after(1_999);
    assert_eq!(bench.state("web"), State::Ready);
    bench.after(1);
    assert_eq!(bench.state("web"), State::NotServing);
    bench.seen("web", generation, vec![socket(20_000, 201)]);
    assert_eq!(bench.state("web"), State::Ready);
}

#[test]
fn an_end_that_is_found_out_late_does_not_override_a_stop_that_was_asked_for_meanwhile() {
    let late = |bench: &mut Bench| {
        let end = Exit::by_signal(9, bench.moment().wall).into();
        bench.tell(Event::EndedUnseen { id: web(), generation: 4, end, meant: Meant::Up, restarts: 0 });
    };
    let mut bench = Bench::new(WEB);
    bench.ask("web", Wish::Down);
    late(&mut bench);
    assert_eq!((bench.state("web"), bench.spawn_of("web")), (State::Stopped, None));
    assert!(bench.does(|effect| matches!(effect, Effect::MarkDown { .. })), "the next daemon is to know");
    let mut bench = Bench::new(WEB);
    late(&mut bench);
    assert_eq!(bench.spawn_of("web"), Some(5), "nobody asked, so it is started again");
}

#[test]
fn output_that_was_lost_is_told_for_as_long_as_that_life_goes_on() {
    let mut bench = Bench::new(WEB);
    let first = bench.ready("web");
    let lost = |generation, what: &str| Event::OutputLost { id: web(), generation, what: what.to_owned() };
    bench.tell(lost(first, "1 byte")).tell(lost(first, "2 bytes")).tell(lost(first + 1, "another's"));
    assert_eq!((bench.state("web"), bench.reason("web").as_str()), (State::Ready, "2 bytes"));
    bench.ask("web", Wish::Restart).ended("web", first, 0);
    let second = bench.spawn_of("web").unwrap();
    bench.spawned("web", second).tell(lost(first, "late")).seen("web", second, vec![socket(20_000, 201)]);
    assert_eq!((bench.state("web"), bench.reason("web").as_str()), (State::Ready, ""));
}

#[test]
fn answers_about_an_earlier_life_change_nothing() {
    let mut bench = Bench::new(WEB);
    let first = bench.ready("web");
    bench.ask("web", Wish::Restart);
    bench.ended("web", first, 0);
    let second = bench.spawn_of("web").unwrap();
    bench.spawned("web", second).ended("web", first, 1);
    assert_eq!(bench.state("web"), State::Starting);
    bench.seen("web", first, vec![socket(3000, 200)]);
    assert_eq!(bench.state("web"), State::Starting);
}

#[test]
fn the_last_request_wins_whatever_is_under_way() {
    let cases = [
        (vec![Wish::Up, Wish::Down], State::Stopped),
        (vec![Wish::Up, Wish::Down, Wish::Up], State::Ready),
        (vec![Wish::Up, Wish::Restart, Wish::Down], State::Stopped),
        (vec![Wish::Restart, Wish::Restart], State::Ready),
        (vec![Wish::Down], State::Stopped),
    ];
    for (wishes, expected) in cases {
        let mut bench = Bench::new(WEB);
        bench.ready("web");
        let mut world = World::default();
        world.trees.insert(web(), Tree { generation: 1, listens: true });
        for wish in &wishes {
            bench.ask("web", *wish);
            world.take(&bench.effects);
        }
        world.let_everything_happen(&mut bench);
        assert_eq!(bench.state("web"), expected, "{wishes:?}");
        assert_eq!(world.trees.len(), usize::from(expected == State::Ready), "{wishes:?}");
    }
}

#[test]
fn a_stop_climbs_the_ladder_until_the_tree_is_gone() {
    let mut bench = Bench::new("[servers.web]\ncommand = 'x'\nstop_signal = 'INT'\nstop_timeout = '1s'");
    let generation = bench.ready("web");
    bench.ask("web", Wish::Down);
    assert_eq!(bench.signals(), [Signal::Int, Signal::Cont]);
    assert!(bench.does(|e| matches!(e, Effect::WithdrawFile { .. })));
    bench.after(300);
    assert_eq!(bench.signals(), [Signal::Int]);
    bench.after(100);
    assert_eq!(bench.signals(), [Signal::Int]);
    bench.after(300);
    assert_eq!(bench.signals(), [Signal::Kill]);
    bench.ended("web", generation, 137);
    assert_eq!(bench.state("web"), State::Stopped);
    bench.after(10_000);
    assert_eq!(bench.signals(), [], "nothing is signalled after the end");
}

#[test]
fn what_follows_an_end_is_the_settings_choice() {
    let cases = [
        ("on-failure", 0, true, State::Stopped),
        ("on-failure", 1, true, State::Starting),
        ("on-failure", 0, false, State::Failed),
        ("on-failure", 1, false, State::Waiting),
        ("on-failure", 127, false, State::Failed),
        ("always", 0, true, State::Starting),
        ("always", 127, true, State::Failed),
        ("never", 0, true, State::Stopped),
        ("never", 1, true, State::Failed),
    ];
    for (restart, code, was_ready, expected) in cases {
        let mut bench = Bench::new(&format!("{WEB}\nrestart = '{restart}'"));
        let generation = if was_ready {
            bench.ready("web")
        } else {
            bench.ask("web", Wish::Up);
            bench.spawned("web", 1);
            1
        };
        bench.ended("web", generation, code);
        assert_eq!(bench.state("web"), expected, "{restart} {code} {was_ready}");
    }
}

#[test]
fn a_crash_loop_ends_in_failed_after_five_deaths() {
    let mut bench = Bench::new(WEB);
    bench.ask("web", Wish::Up);
    let mut spawns = 0;
    while let Some(generation) = bench.spawn_of("web") {
        spawns += 1;
        bench.spawned("web", generation).ended("web", generation, 1);
        let Some(due) = bench.fleet.next_tick_ms() else { break };
        bench.now_ms = due;
        bench.tell(Event::Tick);
    }
    assert_eq!((spawns, bench.state("web")), (5, State::Failed));
    let expected = "ended with exit code 1 before it was ready; given up: it ended 5 times within a minute";
    assert_eq!(bench.reason("web"), expected);
    bench.ask("web", Wish::Up);
    assert!(bench.spawn_of("web").is_some(), "being asked begins anew");
}

#[test]
fn a_leader_that_ends_well_leaves_a_managed_tree_and_one_that_fails_is_swept() {
    let mut bench = Bench::new(WEB);
    let generation = bench.ready("web");
    let at = bench.moment().wall;
    bench.tell(Event::LeaderEnded { id: web(), generation, exit: Exit::with_code(0, at) });
    assert_eq!((bench.state("web"), bench.signals()), (State::Ready, vec![]));
    bench.tell(Event::LeaderEnded { id: web(), generation, exit: Exit::by_signal(9, at) });
    assert_eq!(bench.signals(), [Signal::Term, Signal::Cont]);
    bench.ended("web", generation, 0);
    assert!(bench.spawn_of("web").is_some(), "it died, so it is started again at once");
}

#[test]
fn dependencies_come_first_and_their_failure_is_named() {
    let toml = "[servers.web]\ncommand = 'x'\ndepends_on = ['api']\n[servers.api]\ncommand = 'y'\nrestart = 'never'";
    let mut bench = Bench::new(toml);
    bench.ask("web", Wish::Up);
    assert_eq!((bench.spawn_of("web"), bench.spawn_of("api")), (None, Some(1)));
    assert_eq!(bench.reason("web"), "waits for api");
    bench.spawned("api", 1).seen("api", 1, vec![socket(4000, 300)]);
    let urls = bench.effects.iter().find_map(|effect| match effect {
        Effect::Spawn { id, urls, .. } if id.server == "web" => Some(urls.clone()),
        _ => None,
    });
    assert_eq!(urls.unwrap()["api"], "http://127.0.0.1:4000");

    let mut bench = Bench::new(toml);
    bench.ask("web", Wish::Up);
    bench.spawned("api", 1).ended("api", 1, 3);
    assert_eq!(bench.state("web"), State::Failed);
    assert_eq!(bench.reason("web"), "`api` failed: ended with exit code 3 before it was ready");
}

#[test]
fn a_server_of_somebody_else_is_not_started_twice_nor_stopped() {
    let mut bench = Bench::new(WEB);
    let found = |verdict| Found {
        verdict,
        pid: 77,
        at: Some(([127, 0, 0, 1].into(), 8000)),
        owner: Some(process(77)),
        is_ours: false,
        is_external: false,
        written_at: None,
    };
    bench.tell(Event::FileFound { id: web(), found: Some(found(Verdict::Live)) });
    assert_eq!(bench.state("web"), State::Ready);
    bench.ask("web", Wish::Up);
    assert_eq!(bench.spawn_of("web"), None);
    bench.ask("web", Wish::Down);
    assert_eq!(bench.signals(), []);
    bench.tell(Event::FileFound { id: web(), found: Some(found(Verdict::Unsure(Unsure::NotPermitted { pid: 77 }))) });
    assert_eq!(bench.reason("web"), "not permitted to look at process 77");
    bench.tell(Event::Reaped { id: web(), why: "process 77 is gone".to_owned() });
    assert_eq!(
        (bench.state("web"), bench.reason("web").as_str()),
        (State::Stopped, "port file removed: process 77 is gone")
    );
}

#[test]
fn a_look_from_before_the_end_does_not_make_a_dead_server_ready() {
    let mut bench = Bench::new(WEB);
    let generation = bench.ready("web");
    bench.ask("web", Wish::Down);
    bench.ended("web", generation, 0);
    let late = Found {
        verdict: Verdict::Live,
        pid: 200,
        at: Some(([127, 0, 0, 1].into(), 20_000)),
        owner: Some(process(200)),
        is_ours: true,
        is_external: false,
        written_at: None,
    };
    bench.tell(Event::FileFound { id: web(), found: Some(late) });
    assert_eq!(bench.state("web"), State::Stopped);
}

#[test]
fn health_takes_two_failures_and_one_success() {
    let mut bench = Bench::new(&format!("{WEB}\nhealth = 'http:/h'"));
    let generation = bench.ready("web");
    let probed = |outcome| Event::Probed { id: web(), generation, outcome };
    bench.after(5_000);
    assert!(bench.does(|e| matches!(e, Effect::Probe { probe: Probe::Health { .. }, .. })));
    bench.tell(probed(Err("no answer".to_owned())));
    assert_eq!(bench.state("web"), State::Ready);
    bench.tell(probed(Err("no answer".to_owned())));
    assert_eq!((bench.state("web"), bench.reason("web").as_str()), (State::Unhealthy, "no answer"));
    bench.tell(probed(Ok(())));
    assert_eq!(bench.state("web"), State::Ready);
}

#[test]
fn a_listener_that_goes_before_its_port_file_is_there_never_was_ready() {
    let mut bench = Bench::new(WEB);
    bench.writes = false;
    bench.ask("web", Wish::Up);
    bench.spawned("web", 1).seen("web", 1, vec![socket(20_000, 200)]);
    bench.seen("web", 1, vec![]);
    assert_eq!((bench.state("web"), bench.reason("web").as_str()), (State::Starting, "not listening yet"));
    assert!(bench.does(|e| matches!(e, Effect::WithdrawFile { .. })));
    bench.writes = true;
    bench.seen("web", 1, vec![socket(20_000, 200)]);
    assert_eq!(bench.state("web"), State::Ready);
}

#[test]
fn an_unhealthy_server_is_restarted_where_that_is_asked_for_but_not_for_ever() {
    let mut bench = Bench::new(&format!("{WEB}\nhealth = 'http'\nrestart_unhealthy = true"));
    let mut generation = bench.ready("web");
    let mut lives = 1;
    loop {
        for _ in 0..2 {
            bench.tell(Event::Probed { id: web(), generation, outcome: Err("no answer".to_owned()) });
        }
        assert_eq!(bench.signals(), [Signal::Term, Signal::Cont]);
        let expected = "unhealthy: no answer; told to end with TERM, and killed if it still lives after 7s, \
                        then started again";
        assert_eq!((bench.state("web"), bench.reason("web").as_str()), (State::Stopping, expected));
        bench.ended("web", generation, 0);
        while bench.state("web") == State::Waiting {
            bench.now_ms = bench.fleet.next_tick_ms().unwrap();
            bench.tell(Event::Tick);
        }
        let Some(next) = bench.spawn_of("web") else { break };
        generation = next;
        lives += 1;
        bench.spawned("web", generation).seen("web", generation, vec![socket(20_000, 200)]);
    }
    assert_eq!((lives, bench.state("web")), (5, State::Failed));
}

#[test]
fn the_servers_of_a_repo_that_is_missing_for_a_moment_go_on_and_of_one_that_stays_away_are_stopped() {
    let missing = || Event::Missing { repo: "r".to_owned(), root: "/r".into(), remembered: Vec::new() };
    let looks = |bench: &Bench| bench.does(|e| matches!(e, Effect::LookAtRepo { repo } if repo == "r"));
    let mut bench = Bench::new(WEB);
    let generation = bench.ready("web");
    bench.tell(missing());
    assert_eq!((bench.state("web"), looks(&bench)), (State::Ready, false));
    assert!(looks(bench.after(400)), "it makes sure");
    bench.tell(Event::Configured { repo: "r".to_owned(), root: "/r".into(), plans: Plan::all_of(WEB), problem: None });
    bench.after(60_000);
    assert_eq!(bench.state("web"), State::Ready);

    bench.tell(missing()).after(400);
    bench.tell(missing());
    assert_eq!(bench.signals(), [Signal::Term, Signal::Cont]);
    bench.ended("web", generation, 0);
    let status = bench.fleet.status(&web()).unwrap();
    assert_eq!((status.state, status.missing), (State::Stopped, true));
    assert_eq!(bench.reason("web"), "`/r` is missing: moved, deleted or not mounted");
    bench.tell(Event::Configured { repo: "r".to_owned(), root: "/r".into(), plans: Plan::all_of(WEB), problem: None });
    assert!(!bench.fleet.status(&web()).unwrap().missing);
}

#[test]
fn a_server_that_was_given_its_port_is_waited_for_when_it_opens_another_one_first() {
    let mut bench = Bench::new("[servers.web]\ncommand = 'serve --port {port}'");
    bench.ask("web", Wish::Up);
    let generation = bench.spawn_of("web").unwrap();
    bench.spawned("web", generation).seen("web", generation, vec![socket(9_229, 200)]);
    assert_eq!(
        (bench.state("web"), bench.reason("web").as_str()),
        (State::Starting, "listens on 9229, and not on 20000 yet")
    );
    bench.after(1_000).seen("web", generation, vec![socket(9_229, 200), socket(20_000, 200)]);
    assert_eq!((bench.state("web"), bench.port("web")), (State::Ready, Some(20_000)));

    // One that takes another port all the same is ready a moment later, or at once when it says so.
    bench.ask("web", Wish::Restart).ended("web", generation, 0);
    let generation = bench.spawn_of("web").unwrap();
    bench.spawned("web", generation).seen("web", generation, vec![socket(9_229, 200)]);
    bench.after(2_999);
    assert_eq!(bench.state("web"), State::Starting);
    bench.after(1);
    assert_eq!((bench.state("web"), bench.port("web")), (State::Ready, Some(9_229)));

    bench.ask("web", Wish::Restart).ended("web", generation, 0);
    let generation = bench.spawn_of("web").unwrap();
    let sight = Sight { sockets: vec![socket(8_080, 200)], hints: vec![8_080], announced: None };
    bench.spawned("web", generation).tell(Event::Seen { id: web(), generation, sight });
    assert_eq!((bench.state("web"), bench.port("web")), (State::Ready, Some(8_080)));
}

#[test]
fn a_repo_that_does_not_answer_keeps_the_servers_that_its_settings_named() {
    let hangs = |plans| Event::Configured {
        repo: "r".to_owned(),
        root: "/r".into(),
        plans,
        problem: Some("`/r`: it does not answer".to_owned()),
    };
    let remembered = || Plan::all_of("[servers.server]");
    let names = |fleet: &Fleet| fleet.statuses().map(|status| status.server.clone()).collect::<Vec<_>>();
    let mut bench = Bench::new(WEB);
    let before = names(&bench.fleet);
    bench.tell(hangs(remembered()));
    assert_eq!(names(&bench.fleet), before, "the default server of a repo without settings is none of them");
    assert_eq!(bench.reason("web"), "`/r`: it does not answer");

    let mut fleet = Fleet::new();
    fleet.handle(hangs(remembered()), Moment { mono_ms: 0, wall: Timestamp(0) });
    assert_eq!(names(&fleet), ["server"], "one that was not read yet shows what it had");
}

#[test]
fn a_repo_that_was_missing_from_the_start_shows_what_it_had() {
    let mut fleet = Fleet::new();
    let now = Moment { mono_ms: 0, wall: Timestamp(0) };
    fleet.handle(Event::Missing { repo: "r".to_owned(), root: "/r".into(), remembered: Plan::all_of(WEB) }, now);
    let status = fleet.status(&web()).unwrap();
    assert_eq!((status.state, status.missing), (State::Stopped, true));
}

#[test]
fn a_server_of_somebody_else_is_flagged_when_its_port_file_goes_and_it_does_not() {
    let mut bench = Bench::new(WEB);
    let found = Found {
        verdict: Verdict::Live,
        pid: 77,
        at: Some(([127, 0, 0, 1].into(), 8000)),
        owner: Some(process(77)),
        is_ours: false,
        is_external: false,
        written_at: None,
    };
    bench.tell(Event::FileFound { id: web(), found: Some(found) });
    bench.tell(Event::FileFound { id: web(), found: None });
    assert_eq!(bench.state("web"), State::NotServing);
    assert_eq!(bench.reason("web"), "its port file is gone, and process 77 is not");
    bench.ask("web", Wish::Up);
    assert_eq!(bench.spawn_of("web"), None, "a second copy is not started beside it");
    bench.tell(Event::OwnerEnded { id: web(), owner: process(78), exit: None });
    assert_eq!(bench.state("web"), State::NotServing, "another process's end says nothing");
    bench.tell(Event::OwnerEnded { id: web(), owner: process(77), exit: Some(Exit::by_signal(9, Timestamp(7))) });
    assert_eq!(bench.state("web"), State::Stopped);
    assert_eq!(bench.fleet.status(&web()).unwrap().exit.signal, Some(9), "it is told how somebody else's server ended");
}

#[test]
fn the_kernel_tells_how_a_server_ended_whose_shim_was_killed() {
    for told_first in [true, false] {
        let mut bench = Bench::new(&format!("{WEB}\nrestart = 'never'"));
        let generation = bench.ready("web");
        let owner = Event::OwnerEnded { id: web(), owner: process(200), exit: Some(Exit::with_code(3, Timestamp(7))) };
        let end = End { lost_shim: true, ..End::default() };
        let tree = Event::TreeEnded { id: web(), generation, end };
        for event in if told_first { [owner, tree] } else { [tree, owner] } {
            bench.tell(event);
        }
        assert_eq!(bench.fleet.status(&web()).unwrap().exit.code, Some(3));
        assert_eq!(bench.reason("web"), "its shim was killed; what was left of it was ended");
    }
}

#[test]
fn what_an_earlier_daemon_gave_up_stays_failed_and_says_why() {
    let mut bench = Bench::new(WEB);
    let end = End { given_up: Some("it ended 5 times".to_owned()), ..Exit::with_code(1, Timestamp(0)).into() };
    bench.tell(Event::EndedUnseen { id: web(), generation: 4, end, meant: Meant::Down, restarts: 3 });
    assert_eq!((bench.state("web"), bench.reason("web").as_str()), (State::Failed, "it ended 5 times"));
    bench.ask("web", Wish::Up);
    assert_eq!(bench.spawn_of("web"), Some(5));
}

#[test]
fn what_is_told_late_of_a_life_that_has_ended_does_not_bring_it_back() {
    let mut bench = Bench::new(WEB);
    let generation = bench.ready("web");
    bench.ask("web", Wish::Down);
    bench.ended("web", generation, 0);
    let adoption = Adoption {
        generation,
        shim: process(101),
        asked_port: 20_000,
        restarts: 0,
        down: false,
        started_at: Timestamp(5),
        leader: None,
        leader_exit: None,
    };
    bench.tell(Event::Adopted { id: web(), adoption });
    assert_eq!(bench.state("web"), State::Stopped);
    let end = Exit::with_code(1, Timestamp(0)).into();
    bench.tell(Event::EndedUnseen { id: web(), generation, end, meant: Meant::Up, restarts: 0 });
    assert_eq!((bench.state("web"), bench.spawn_of("web")), (State::Stopped, None));
}

#[test]
fn a_listener_that_never_answers_is_not_ready_by_http() {
    let mut bench = Bench::new(&format!("{WEB}\nready = 'http'"));
    bench.ask("web", Wish::Up);
    bench.spawned("web", 1).seen("web", 1, vec![socket(20_000, 200)]).after(0);
    assert!(bench.does(|e| matches!(e, Effect::Probe { probe: Probe::Ready { .. }, .. })));
    bench.tell(Event::Probed { id: web(), generation: 1, outcome: Err("silence".to_owned()) });
    assert_eq!((bench.state("web"), bench.reason("web").as_str()), (State::Starting, "silence"));
    bench.after(300);
    assert!(bench.does(|e| matches!(e, Effect::Probe { .. })));
    bench.tell(Event::Probed { id: web(), generation: 1, outcome: Ok(()) });
    assert_eq!(bench.state("web"), State::Ready);
}

#[test]
fn an_adopted_server_keeps_its_restarts_and_one_being_stopped_is_stopped() {
    let adoption = |down| Adoption {
        generation: 7,
        shim: process(50),
        asked_port: 20_000,
        restarts: 3,
        down,
        started_at: Timestamp(5),
        leader: None,
        leader_exit: None,
    };
    let mut bench = Bench::new(WEB);
    bench.tell(Event::Adopted { id: web(), adoption: adoption(false) }).seen("web", 7, vec![socket(20_000, 51)]);
    let status = bench.fleet.status(&web()).unwrap();
    assert_eq!((status.state, status.restarts), (State::Ready, 3));
    let mut bench = Bench::new(WEB);
    bench.tell(Event::Adopted { id: web(), adoption: adoption(true) });
    assert_eq!((bench.state("web"), bench.signals()), (State::Stopping, vec![Signal::Term, Signal::Cont]));
    // One that dies before anything was seen of it is started again at once, as one that died unseen is.
    let mut bench = Bench::new(WEB);
    bench.tell(Event::Adopted { id: web(), adoption: adoption(false) }).ended("web", 7, 1);
    assert_eq!(bench.spawn_of("web"), Some(8));
}

#[test]
fn a_server_that_left_the_settings_is_stopped_and_forgotten() {
    let mut bench = Bench::new(WEB);
    let generation = bench.ready("web");
    bench.tell(Event::Configured {
        repo: "r".to_owned(),
        root: "/r".into(),
        plans: Plan::all_of("[servers.other]\ncommand = 'y'"),
        problem: None,
    });
    assert_eq!(bench.state("web"), State::Stopping);
    bench.ended("web", generation, 0);
    assert!(bench.fleet.status(&web()).is_none());
    bench.tell(Event::Removed { repo: "r".to_owned() });
    assert_eq!(bench.fleet.statuses().count(), 0);
}

#[test]
fn down_is_remembered_whatever_the_server_is_doing() {
    let marks = |bench: &mut Bench| bench.ask("web", Wish::Down).does(|e| matches!(e, Effect::MarkDown { .. }));
    assert!(marks(&mut Bench::new(WEB)), "stopped");
    let mut bench = Bench::new(WEB);
    bench.ask("web", Wish::Up);
    assert!(marks(&mut bench), "being started");
    let mut bench = Bench::new(WEB);
    bench.ready("web");
    assert!(marks(&mut bench), "ready");
    assert!(marks(&mut bench), "stopping");
}

/// Of a shim that an earlier daemon started.
fn adoption(generation: u64) -> Adoption {
    Adoption {
        generation,
        shim: process(100 + u32::try_from(generation).unwrap()),
        asked_port: 20_000,
        restarts: 0,
        down: false,
        started_at: Timestamp(5),
        leader: None,
        leader_exit: None,
    }
}

#[test]
fn a_shim_that_a_dying_daemon_started_is_taken_over_however_late_it_reports() {
    let mut bench = Bench::new(WEB);
    bench.ask("web", Wish::Up);
    let busy = |generation| Event::Spawned {
        id: web(),
        generation,
        outcome: Err(Refused::Passing("an earlier life of it has not ended yet".to_owned())),
    };
    bench.tell(busy(1)).after(1_000);
    bench.tell(busy(2)).after(1_000);
    bench.tell(Event::Adopted { id: web(), adoption: adoption(1) });
    assert_eq!(bench.fleet.status(&web()).unwrap().origin, Some(crate::model::Origin::Adopted));
    bench.after(60_000);
    assert_eq!(bench.spawn_of("web"), None, "nothing is started beside it");
    bench.ended("web", 1, 1);
    assert_eq!(bench.spawn_of("web"), Some(3), "no number is used twice");
}

#[test]
fn the_end_of_a_shim_that_had_the_number_of_a_start_is_not_the_end_of_that_start() {
    let mut bench = Bench::new(WEB);
    bench.ask("web", Wish::Up);
    assert_eq!(bench.spawn_of("web"), Some(1));
    // An earlier daemon had ordered a first life as it died; that ended before the order for ours arrived.
    bench.ended("web", 1, 3);
    let busy = Err(Refused::Passing("an earlier life of it has not ended yet".to_owned()));
    bench.tell(Event::Spawned { id: web(), generation: 1, outcome: busy });
    assert_eq!(bench.state("web"), State::Waiting);
    assert_eq!(bench.fleet.status(&web()).unwrap().exit.code, Some(3), "it is told how that one ended");
    bench.after(1_000);
    assert_eq!(bench.spawn_of("web"), Some(2), "no number is used twice");
    bench.spawned("web", 2).seen("web", 2, vec![socket(20_000, 200)]);
    bench.ended("web", 1, 3);
    assert_eq!(bench.state("web"), State::Ready, "what is told of it late is not about ours");
}

#[test]
fn a_failed_server_that_is_stopped_rests_and_says_why_it_had_failed() {
    for wish in [Wish::Down, Wish::End] {
        let mut bench = Bench::new(&format!("{WEB}\nrestart = 'never'"));
        let generation = bench.ready("web");
        bench.ended("web", generation, 3);
        assert_eq!(bench.state("web"), State::Failed);
        bench.ask("web", wish);
        assert_eq!((bench.state("web"), bench.reason("web").as_str()), (State::Stopped, "ended with exit code 3"));
        assert_eq!(bench.fleet.status(&web()).unwrap().exit.code, Some(3));
        assert!(bench.does(|e| matches!(e, Effect::MarkDown { .. })), "the next daemon is not to tell it as failed");
        bench.ask("web", Wish::Up);
        assert!(bench.spawn_of("web").is_some() && bench.reason("web").is_empty());
    }
}

#[test]
fn a_shim_that_a_dying_daemon_started_is_stopped_when_down_was_asked_for_since() {
    let mut bench = Bench::new(WEB);
    bench.ask("web", Wish::Down);
    bench.tell(Event::Adopted { id: web(), adoption: adoption(1) });
    assert_eq!((bench.state("web"), bench.signals()), (State::Stopping, vec![Signal::Term, Signal::Cont]));
    assert!(bench.does(|e| matches!(e, Effect::MarkDown { .. })), "the shim took the mark away");
}

#[test]
fn a_server_that_waits_is_not_started_again_beside_somebody_elses() {
    let found = Found {
        verdict: Verdict::Live,
        pid: 77,
        at: Some(([127, 0, 0, 1].into(), 8000)),
        owner: Some(process(77)),
        is_ours: false,
        is_external: false,
        written_at: None,
    };
    for is_asked in [false, true] {
        let mut bench = Bench::new(WEB);
        bench.ask("web", Wish::Up);
        bench.spawned("web", 1).ended("web", 1, 1);
        bench.tell(Event::FileFound { id: web(), found: Some(found.clone()) });
        if is_asked {
            bench.ask("web", Wish::Up);
        }
        bench.after(1_000);
        assert_eq!((bench.state("web"), bench.spawn_of("web")), (State::Ready, None), "{is_asked}");
        bench.tell(Event::FileFound { id: web(), found: None });
        bench.tell(Event::OwnerEnded { id: web(), owner: process(77), exit: None }).after(60_000);
        assert_eq!((bench.state("web"), bench.spawn_of("web")), (State::Stopped, None), "{is_asked}");
    }
}

#[test]
fn the_file_of_a_server_that_lost_its_listener_between_two_daemons_is_withdrawn() {
    let mut bench = Bench::new(WEB);
    bench.tell(Event::Adopted { id: web(), adoption: adoption(1) });
    let found = |verdict| Event::FileFound {
        id: web(),
        found: Some(Found {
            verdict,
            pid: 200,
            at: None,
            owner: None,
            is_ours: true,
            is_external: false,
            written_at: None,
        }),
    };
    bench.tell(found(Verdict::Live)).seen("web", 1, vec![]);
    assert!(bench.does(|e| matches!(e, Effect::CheckFile { .. })), "it was true a moment ago");
    let silent = || found(Verdict::Unsure(Unsure::NotListening { port: 20_000 }));
    assert!(bench.tell(silent()).does(|e| matches!(e, Effect::WithdrawFile { .. })));
    let mut moved = Bench::new(&format!("{WEB}\nready = 'http'"));
    moved.tell(Event::Adopted { id: web(), adoption: adoption(1) });
    moved.tell(found(Verdict::Live)).seen("web", 1, vec![socket(20_001, 200)]);
    assert!(moved.does(|e| matches!(e, Effect::CheckFile { .. })), "it listens elsewhere, and is not ready yet");
    assert!(moved.tell(silent()).does(|e| matches!(e, Effect::WithdrawFile { .. })));
    // The answer to that would be the same where it cannot be removed.
    bench.writes = false;
    bench.tell(silent());
    bench.tell(silent());
    assert!(!bench.does(|e| matches!(e, Effect::WithdrawFile { .. })), "it is not tried for ever");
}

#[test]
fn a_server_that_is_being_forgotten_is_not_started_again() {
    let mut bench = Bench::new(WEB);
    let generation = bench.ready("web");
    bench.tell(Event::Removed { repo: "r".to_owned() });
    bench.ask("web", Wish::Up);
    bench.ended("web", generation, 0);
    assert_eq!((bench.spawn_of("web"), bench.fleet.statuses().count()), (None, 0));
}

#[test]
fn a_life_that_was_over_before_it_was_known_is_told_and_does_not_come_back() {
    let mut bench = Bench::new(WEB);
    bench.ended("web", 1, 3);
    assert_eq!(bench.fleet.status(&web()).unwrap().exit.code, Some(3));
    bench.tell(Event::Adopted { id: web(), adoption: adoption(1) });
    assert_eq!(bench.state("web"), State::Stopped, "read before its end, told after it");
}

#[test]
fn a_port_file_that_does_not_become_live_is_not_written_again_and_again() {
    let mut bench = Bench::new(WEB);
    bench.ready("web");
    bench.writes = false;
    let writes = |bench: &Bench| bench.does(|e| matches!(e, Effect::WriteFile { .. }));
    let gone = || Event::FileFound { id: web(), found: None };
    bench.tell(gone());
    assert!(bench.does(|e| matches!(e, Effect::CheckFile { .. })), "a look from before it was written?");
    assert_eq!(bench.fleet.status(&web()).unwrap().verdict.as_deref(), Some("live"));
    assert!(!writes(bench.tell(gone())), "who removes it may be removing the whole work tree");
    assert!(bench.after(700).does(|e| matches!(e, Effect::CheckFile { .. })));
    assert!(writes(bench.tell(gone())), "somebody removed it");
    assert!(!writes(bench.tell(gone())), "it was written, judged stale and removed: its process has ended");
    assert!(bench.does(|e| matches!(e, Effect::Look { .. })));
    bench.after(1_000);
    assert!(bench.does(|e| matches!(e, Effect::CheckFile { .. })));
    assert!(writes(bench.tell(gone())), "its process lives, and somebody removes it again and again");
}

// ---- a world that does as it is told; `tests/sim` has one that goes wrong

/// A tree of the world outside.
#[derive(Debug, Clone, Copy)]
struct Tree {
    generation: u64,
    listens: bool,
}

/// The world outside, as far as a fleet can tell: trees, and which answers are on their way.
#[derive(Debug, Default)]
struct World {
    trees: BTreeMap<ServerId, Tree>,
    answers: Vec<Event>,
}

impl World {
    /// Performs effects; their answers wait until they are let through.
    fn take(&mut self, effects: &[Effect]) {
        for effect in effects {
            match effect {
                Effect::Spawn { id, generation, .. } => self.spawn(id, *generation),
                Effect::Signal { id, shim, signal } => self.signal(id, shim, *signal),
                Effect::WriteFile { id, socket } => self.answers.push(written(id, socket)),
                Effect::WithdrawFile { id } | Effect::CheckFile { id } => {
                    self.answers.push(Event::FileFound { id: id.clone(), found: None });
                }
                Effect::Watch { id, generation, .. } => self.look(id, *generation),
                _ => {}
            }
        }
    }

    fn spawn(&mut self, id: &ServerId, generation: u64) {
        // The lock of a shim: one at a time.
        let outcome = if self.trees.contains_key(id) {
            Err(Refused::Passing("busy".to_owned()))
        } else {
            self.trees.insert(id.clone(), Tree { generation, listens: false });
            Ok(Spawn { shim: shim_of(generation), leader: None, asked_port: 20_000 })
        };
        self.answers.push(Event::Spawned { id: id.clone(), generation, outcome });
    }

    fn signal(&mut self, id: &ServerId, shim: &Instance, signal: Signal) {
        let Some(tree) = self.trees.get(id).copied() else { return };
        if shim_of(tree.generation) == *shim && matches!(signal, Signal::Term | Signal::Kill) {
            self.end(id, 143);
        }
    }

    fn end(&mut self, id: &ServerId, code: i32) {
        if let Some(tree) = self.trees.remove(id) {
            let exit = Exit::with_code(code, Timestamp(0));
            self.answers.push(Event::TreeEnded { id: id.clone(), generation: tree.generation, end: exit.into() });
        }
    }

    fn look(&mut self, id: &ServerId, generation: u64) {
        let tree = self.trees.get(id).filter(|tree| tree.generation == generation);
        let sockets = match tree {
            Some(tree) if tree.listens => vec![socket(20_000, 1000 + u32::try_from(generation).unwrap_or(0))],
            _ => Vec::new(),
        };
        let sight = Sight { sockets, ..Sight::default() };
        self.answers.push(Event::Seen { id: id.clone(), generation, sight });
    }

    /// Every answer arrives, every server listens, every timer fires, until nothing happens any more.
    fn let_everything_happen(&mut self, bench: &mut Bench) {
        for _ in 0..1_000 {
            if let Some(answer) = (!self.answers.is_empty()).then(|| self.answers.remove(0)) {
                bench.tell(answer);
                self.take(&bench.effects);
                continue;
            }
            let silent: Vec<ServerId> =
                self.trees.iter().filter(|(_, t)| !t.listens).map(|(id, _)| id.clone()).collect();
            if let Some(id) = silent.first() {
                let generation = self.trees[id].generation;
                self.trees.insert(id.clone(), Tree { generation, listens: true });
                self.look(id, generation);
                continue;
            }
            match bench.fleet.next_tick_ms() {
                Some(due) => {
                    bench.now_ms = bench.now_ms.max(due);
                    bench.tell(Event::Tick);
                    self.take(&bench.effects);
                }
                None => return,
            }
        }
        panic!("it never comes to rest");
    }
}

fn shim_of(generation: u64) -> Instance {
    process(100 + u32::try_from(generation).unwrap_or(0))
}

// ---- somebody else's servers

fn external(pid: u32, port: u16) -> External {
    External {
        owner: process(pid),
        head: process(pid),
        sockets: vec![socket(port, pid)],
        hints: Vec::new(),
        answers: BTreeMap::new(),
        command: format!("serve {port}"),
        programs: vec!["serve".to_owned()],
        since: Some(Timestamp(7)),
        claimed: None,
        announced: None,
    }
}

fn seen(found: &[External]) -> Event {
    Event::ExternalsSeen { repo: "r".to_owned(), found: found.to_vec() }
}

fn writes_of(effects: &[Effect]) -> Vec<(String, u16)> {
    let write = |effect: &Effect| match effect {
        Effect::WriteExternalFile { id, socket } => Some((id.server.clone(), socket.port)),
        _ => None,
    };
    effects.iter().filter_map(write).collect()
}

fn withdraws_of(effects: &[Effect]) -> Vec<String> {
    let withdraw = |effect: &Effect| match effect {
        Effect::WithdrawExternalFile { id, .. } => Some(id.server.clone()),
        _ => None,
    };
    effects.iter().filter_map(withdraw).collect()
}

#[test]
fn a_server_that_is_found_is_told_as_the_only_one_and_up_starts_no_second() {
    let mut bench = Bench::new("[servers.web]\ncommand='npm run dev'");
    bench.tell(seen(&[external(9, 80)]));
    let status = bench.fleet.status(&web()).unwrap().clone();
    assert_eq!((status.state, status.origin), (State::Ready, Some(crate::model::Origin::External)));
    assert_eq!((status.pid, status.port, status.since), (Some(9), Some(80), Some(Timestamp(7))));
    assert_eq!(status.command.as_deref(), Some("serve 80"));
    assert_eq!(writes_of(&bench.effects), [("web".to_owned(), 80)]);
    bench.effects.clear();
    bench.tell(Event::Asked { ids: vec![web()], wish: Wish::Up });
    assert!(!bench.effects.iter().any(|effect| matches!(effect, Effect::Spawn { .. })), "{:?}", bench.effects);
}

#[test]
fn one_of_its_own_is_there_as_long_as_it_runs() {
    let mut bench = Bench::new("[servers.web]\ncommand='vite'");
    let serve = ServerId::new("r", "serve");
    bench.tell(seen(&[external(9, 80)]));
    assert_eq!(bench.fleet.status(&serve).map(|status| status.port), Some(Some(80)));
    assert_eq!(bench.fleet.status(&web()).map(|status| status.state), Some(State::Stopped));
    bench.tell(Event::OwnerEnded { id: serve.clone(), owner: process(9), exit: None });
    assert!(bench.fleet.status(&serve).is_none());
    assert_eq!(withdraws_of(&bench.effects), ["serve"]);
    // What was seen before its end is told after it.
    bench.tell(seen(&[]));
    assert!(bench.fleet.status(&serve).is_none());
}

#[test]
fn a_reload_is_forgiven_and_keeps_the_name() {
    let mut bench = Bench::new("[servers.web]\ncommand='vite'");
    let serve = ServerId::new("r", "serve");
    let watched = |pid| External { head: process(8), ..external(pid, 80) };
    bench.tell(seen(&[watched(9)]));
    bench.tell(Event::OwnerEnded { id: serve.clone(), owner: process(9), exit: None });
    let status = bench.fleet.status(&serve).unwrap();
    assert_eq!((status.state, status.port), (State::Ready, None));
    assert_eq!(withdraws_of(&bench.effects), ["serve"]);
    bench.effects.clear();
    bench.tell(seen(&[watched(10)]));
    assert_eq!(writes_of(&bench.effects), [("serve".to_owned(), 80)]);
    assert_eq!(bench.fleet.status(&serve).unwrap().pid, Some(10));
    // The next one does not come back.
    bench.tell(seen(&[]));
    bench.now_ms += 2_000;
    bench.tell(Event::Tick);
    assert!(bench.fleet.status(&serve).is_none());
}

#[test]
fn down_ends_it_only_when_it_is_named() {
    let mut bench = Bench::new("[servers.web]\ncommand='npm run dev'");
    bench.tell(seen(&[external(9, 80)]));
    bench.effects.clear();
    bench.tell(Event::Asked { ids: vec![web()], wish: Wish::Down });
    let ends =
        |effects: &[Effect]| effects.iter().filter(|effect| matches!(effect, Effect::EndExternal { .. })).count();
    assert_eq!(ends(&bench.effects), 0);
    bench.tell(Event::Removed { repo: "r".to_owned() });
    assert_eq!(ends(&bench.effects), 0, "nor when its repo is forgotten");
    let mut bench = Bench::new("[servers.web]\ncommand='npm run dev'");
    bench.tell(seen(&[external(9, 80)]));
    bench.effects.clear();
    bench.tell(Event::Asked { ids: vec![web()], wish: Wish::End });
    assert_eq!(ends(&bench.effects), 2, "the stop signal, and CONT");
    assert_eq!(bench.fleet.status(&web()).unwrap().state, State::Stopping);
    // It is still seen while it ends.
    bench.tell(seen(&[external(9, 80)]));
    assert_eq!(bench.fleet.status(&web()).unwrap().state, State::Stopping);
    bench.tell(Event::ExternalEnded { id: web(), owner: process(9) });
    assert_eq!(withdraws_of(&bench.effects), ["web"]);
    assert_eq!(bench.fleet.status(&web()).unwrap().state, State::Stopping, "its port file is there yet");
    bench.tell(written(&web(), &socket(80, 9)));
    assert_eq!(bench.fleet.status(&web()).unwrap().state, State::Stopping, "a look from before its end");
    bench.tell(Event::FileFound { id: web(), found: None });
    assert_eq!(bench.fleet.status(&web()).unwrap().state, State::Stopped);
}

#[test]
fn what_could_not_be_verified_goes_on_and_says_why_it_was_spared() {
    let mut bench = Bench::new("[servers.web]\ncommand='npm run dev'");
    bench.tell(seen(&[external(9, 80)]));
    bench.tell(Event::Asked { ids: vec![web()], wish: Wish::End });
    bench.tell(Event::ExternalSpared { id: web(), owner: process(9), why: "it is elsewhere".to_owned() });
    let status = bench.fleet.status(&web()).unwrap();
    assert_eq!((status.state, status.port), (State::Ready, Some(80)));
    assert_eq!(status.reason.as_deref(), Some("not stopped: it is elsewhere"));
}

#[test]
fn up_while_it_is_being_ended_starts_ours_after_it() {
    let mut bench = Bench::new("[servers.web]\ncommand='npm run dev'");
    bench.tell(seen(&[external(9, 80)]));
    bench.tell(Event::Asked { ids: vec![web()], wish: Wish::End });
    bench.tell(Event::Asked { ids: vec![web()], wish: Wish::Up });
    assert!(!bench.effects.iter().any(|effect| matches!(effect, Effect::Spawn { .. })));
    bench.tell(Event::ExternalEnded { id: web(), owner: process(9) });
    assert!(bench.effects.iter().any(|effect| matches!(effect, Effect::Spawn { .. })));
}

#[test]
fn two_ports_that_may_be_it_are_both_told_and_each_says_so() {
    let mut bench = Bench::new("[servers.web]\ncommand='npm run dev'");
    let sockets = vec![socket(80, 9), socket(81, 9), socket(9229, 9)];
    let answers = [(80, Answer::Page), (81, Answer::Page), (9229, Answer::Refusal)].into();
    bench.tell(seen(&[External { sockets, answers, ..external(9, 80) }]));
    let told: Vec<_> = bench.fleet.statuses().map(|s| (s.server.clone(), s.port, s.also.clone())).collect();
    assert_eq!(told, [("serve".to_owned(), Some(81), vec![9229]), ("web".to_owned(), Some(80), vec![9229])]);
    let reason = bench.fleet.status(&web()).unwrap().reason.clone().unwrap();
    assert!(reason.contains("81") && reason.contains("could not be told"), "{reason}");
}

#[test]
fn settings_that_come_to_name_it_take_it_over() {
    let mut bench = Bench::new("[servers.web]\ncommand='vite'");
    bench.tell(seen(&[external(9, 80)]));
    assert!(bench.fleet.status(&ServerId::new("r", "serve")).is_some());
    let plans = Plan::all_of("[servers.docs]\ncommand='serve'\n[servers.web]\ncommand='vite'");
    bench.effects.clear();
    bench.tell(Event::Configured { repo: "r".to_owned(), root: "/r".into(), plans, problem: None });
    let told: Vec<_> = bench.fleet.statuses().map(|s| (s.server.clone(), s.port)).collect();
    assert_eq!(told, [("docs".to_owned(), Some(80)), ("web".to_owned(), None)]);
    assert_eq!(
        (writes_of(&bench.effects), withdraws_of(&bench.effects)),
        (vec![("docs".to_owned(), 80)], vec!["serve".to_owned()])
    );
}
