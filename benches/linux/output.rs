//! Figure 8: how fast a server's output gets into its log.

use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpStream};
use std::process::{Command, Stdio};

use super::Options;
use super::fleet::{Fleet, POUR, POURED_BYTES, own_path};
use super::report::{Figure, Report, Target};
use super::samples::{Samples, ms};

/// A server writes a gibibyte in blocks of 64 KiB through its shim, beside the same writer into `cat > file`.
pub(super) fn pour(options: &Options, report: &mut Report, fleet: &mut Fleet) {
    fleet.run(["up", POUR]);
    let port = fleet.beacon.next_listener(POUR).port;
    let (mut ours, mut theirs) = (Samples::default(), Samples::default());
    for _ in 0..options.times(5) {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("connect to the writer");
        ours.add(megabytes_per_s(fleet.beacon.next_written_ns(POUR)));
        drop(stream);
        theirs.add(through_cat(fleet));
    }
    let folder = fleet.path("s/pierhead/servers/pour/web");
    let kept = kept_in(&folder);
    fleet.run(["down", POUR]);
    let ended = fs::read(folder.join("exit.json")).expect("how it ended");
    let ended: serde_json::Value = serde_json::from_slice(&ended).expect("JSON");
    report.add(Figure {
        number: 8,
        what: "server's output through the shim into the log".to_owned(),
        unit: "MB/s",
        value: ours.median(),
        note: format!("n={}, kept {} MiB, lost {}", ours.count(), kept >> 20, ended["lost_bytes"]),
        reference: ("into `cat > file`", theirs.median()),
        ratio: Some(ours.ratio_to(&theirs)),
        target: Target::AtLeast(250.0),
    });
}

fn through_cat(fleet: &mut Fleet) -> f64 {
    let path = fleet.path("poured");
    let mut writer = Command::new(own_path());
    writer.args(["write", fleet.beacon.path(), "writer", &POURED_BYTES.to_string()]).env_clear();
    let mut writer = writer.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("start the writer");
    let mut cat = Command::new("/bin/cat");
    cat.env_clear().stdin(writer.stdout.take().expect("its output")).stdout(File::create(&path).expect("make a file"));
    let mut cat = cat.spawn().expect("start `cat`");
    let took_ns = fleet.beacon.next_written_ns("writer");
    writer.wait().expect("collect the writer");
    cat.wait().expect("collect `cat`");
    fs::remove_file(&path).expect("remove a file");
    megabytes_per_s(took_ns)
}

#[expect(clippy::cast_precision_loss, reason = "a gibibyte is far below 2^53")]
fn megabytes_per_s(took_ns: u64) -> f64 {
    POURED_BYTES as f64 / 1e6 / (ms(took_ns) / 1e3)
}

/// The bytes of output in a server's folder.
fn kept_in(folder: &std::path::Path) -> u64 {
    let files = fs::read_dir(folder).expect("list a server's folder").flatten();
    let logs = files.filter(|file| file.file_name().to_string_lossy().starts_with("output.log"));
    logs.map(|log| log.metadata().map_or(0, |meta| meta.len())).sum()
}
