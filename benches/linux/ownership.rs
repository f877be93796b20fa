//! Figure 9: whether a hundred servers really own their ports, among many processes that do not.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use pierhead::Spot;
use pierhead::model::Verdict;
use pierhead::os::process::{self, Life};
use pierhead::os::sockets;
use pierhead::portfile::PortFile;

use super::Options;
use super::beacon::{Beacon, Listener};
use super::fleet::own_path;
use super::report::{Figure, Report, Target};
use super::samples::{Samples, ms_since, now_ns};

const SERVERS: usize = 100;
const BYSTANDERS: usize = 500;
const FILES_EACH: usize = 200;

/// Reads and judges every server's port file, beside one search for a port's owner by a walk over all processes.
pub(super) fn verify(options: &Options, report: &mut Report) {
    let dir = tempfile::Builder::new().prefix("phb").tempdir_in("/tmp").expect("make a sandbox");
    eprintln!("{SERVERS} servers beside {BYSTANDERS} processes with {FILES_EACH} files each");
    let mut beacon = Beacon::open(dir.path());
    let bystanders: Vec<Ended> = (0..BYSTANDERS).map(|_| bystander()).collect();
    let servers: Vec<Ended> = (0..SERVERS).map(|number| server(&beacon, number)).collect();
    beacon.wait_for(SERVERS);
    let spots: Vec<Spot> =
        (0..SERVERS).map(|number| publish(dir.path(), number, beacon.latest(&name(number)))).collect();
    let last = beacon.latest(&name(SERVERS - 1));
    let (mut ours, mut walk) = (Samples::default(), Samples::default());
    for _ in 0..options.times(50) {
        let begun_ns = now_ns();
        let live = spots.iter().filter_map(Spot::inspect).filter(|seen| seen.verdict == Verdict::Live).count();
        ours.add(ms_since(begun_ns));
        assert_eq!(live, SERVERS, "every server is seen to be live");
        walk.add(walk_for(last));
    }
    drop((servers, bystanders));
    report.add(Figure {
        number: 9,
        what: format!("verify {SERVERS} servers beside {BYSTANDERS} × {FILES_EACH} files"),
        unit: "ms",
        value: ours.median(),
        note: ours.note(),
        reference: ("one by a walk over all", walk.median()),
        ratio: Some(ours.ratio_to(&walk)),
        target: Target::AtMost(50.0),
    });
}

fn walk_for(server: Listener) -> f64 {
    let begun_ns = now_ns();
    let listening = sockets::listening().expect("the listening sockets");
    let socket = listening.iter().find(|socket| socket.port == server.port).expect("the server's socket");
    let holder = sockets::holder_of(socket).expect("who holds it");
    let took = ms_since(begun_ns);
    assert_eq!(holder.0, server.pid);
    took
}

fn publish(dir: &std::path::Path, number: usize, listener: Listener) -> Spot {
    let root = dir.join(name(number));
    std::fs::create_dir(&root).expect("make a repo");
    let mut record = PortFile::new(listener.pid, listener.port, "127.0.0.1");
    match process::look(listener.pid) {
        Ok(Life::Alive(instance)) => record.instance = Some(instance.mark()),
        other => panic!("a server is {other:?}"),
    }
    let spot = Spot::in_repo(&root);
    spot.write(&record).expect("write a port file");
    spot
}

fn name(number: usize) -> String {
    format!("s{number}")
}

/// A process that is ended when dropped.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn server(beacon: &Beacon, number: usize) -> Ended {
    let mut command = Command::new(own_path());
    command.args(["serve", beacon.path(), &name(number)]).env_clear();
    Ended(command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().expect("start a server"))
}

fn bystander() -> Ended {
    let mut command = Command::new(own_path());
    command.args(["hold", &FILES_EACH.to_string()]).env_clear().stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().expect("start a bystander");
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("its output")).read_line(&mut line).expect("a line");
    Ended(child)
}
