//! Figure 4: from a server's death until its port file is gone.

use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

use pierhead::model::Signal;
use pierhead::os::process::Process;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify;

use super::Options;
use super::fleet::{Fleet, server_name};
use super::report::{Figure, Report, Target};
use super::samples::{Samples, ms_since, now_ns, rest};

/// Longer than any removal takes.
const LIMIT: Timespec = Timespec { tv_sec: 20, tv_nsec: 0 };
const PAUSE: Duration = Duration::from_millis(20);

/// One server after the other is killed and started again, beside a parent that sees its own child end.
pub(super) fn file_removed(options: &Options, report: &mut Report, fleet: &mut Fleet) {
    let (mut ours, mut bare) = (Samples::default(), Samples::default());
    for number in 0..options.times(300) {
        let name = server_name(number % fleet.running);
        let watch = Watch::of(&fleet.root_of(&name).join(".pm"));
        let held = Process::hold(fleet.beacon.latest(&name).pid).expect("look at a server").expect("a living server");
        let begun_ns = now_ns();
        held.send(Signal::Kill).expect("kill a server");
        watch.wait_removed("server.json");
        ours.add(ms_since(begun_ns));
        rest(PAUSE);
        fleet.run(["up", &name]);
        fleet.beacon.next_listener(&name);
        bare.add(death_seen(fleet));
        rest(PAUSE);
    }
    report.add(Figure {
        number: 4,
        what: format!("SIGKILL until its file is removed, p99, {} running", fleet.running),
        unit: "ms",
        value: ours.p99(),
        note: format!("median {:.2}, n={}", ours.median(), ours.count()),
        reference: ("its end seen, p99", bare.p99()),
        ratio: Some(ours.p99() / bare.p99()),
        target: Target::AtMost(50.0),
    });
}

fn death_seen(fleet: &mut Fleet) -> f64 {
    let (mut child, _) = fleet.spawn_bare("bare", 0);
    fleet.beacon.next_listener("bare");
    let held = Process::hold(child.id()).expect("look at a server").expect("a living server");
    let begun_ns = now_ns();
    held.send(Signal::Kill).expect("kill a server");
    assert!(held.wait_end(Duration::from_secs(20)), "a killed server ends");
    let took = ms_since(begun_ns);
    child.wait().expect("collect a server");
    took
}

struct Watch(OwnedFd);

impl Watch {
    fn of(folder: &Path) -> Self {
        let fd = inotify::init(inotify::CreateFlags::CLOEXEC).expect("make an inotify instance");
        let what = inotify::WatchFlags::DELETE | inotify::WatchFlags::MOVED_FROM;
        inotify::add_watch(&fd, folder, what).expect("watch a folder");
        Self(fd)
    }

    fn wait_removed(&self, name: &str) {
        let mut buffer = [MaybeUninit::uninit(); 1024];
        let mut events = inotify::Reader::new(&self.0, &mut buffer);
        loop {
            let mut fds = [PollFd::new(&self.0, PollFlags::IN)];
            assert!(poll(&mut fds, Some(&LIMIT)).is_ok_and(|n| n > 0), "the file of a dead server is removed");
            let event = events.next().expect("read an event");
            if event.file_name().is_some_and(|file| file.to_bytes() == name.as_bytes()) {
                return;
            }
        }
    }
}
