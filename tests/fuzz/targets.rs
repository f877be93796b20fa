//! The fuzz targets: what must hold of whatever is read, for any bytes. Each is run by a program of `fuzz/fuzz_targets`
//! and, without a nightly toolchain, by `tests/fuzz`.

use std::fmt::Debug;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use pierhead::announce::Tool;
use pierhead::announce::custom::{Announce, Format};
use pierhead::api::{Asked, DaemonStatus, Ended, Failure, Line, Order, Record, Request, Servers};
use pierhead::daemon::{Provenance, admit};
use pierhead::model::{Instance, ServerId, Stale, Timestamp, Verdict, is_valid_name, sanitize_name};
use pierhead::portfile::{
    Evidence, Holder, MAX_PID, PortFile, ProcessEvidence, SocketEvidence, connect_host, judge, loopback_url,
};
use pierhead::settings::detect::{Commented, Entry, Reader, Thoroughness, written};
use pierhead::settings::{
    CommandLine, Environment, Manifest, Placeholders, Ready, Registry, Restart, ServerSettings, Trust, UserSettings,
    Worktrees, approval_of, fill,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// A target: takes any bytes, and panics when something does not hold of them.
pub(crate) type Target = fn(&[u8]);

/// Every target under the name of its program and of its folder in `fuzz/corpus`.
pub(crate) const ALL: [(&str, Target); 12] = [
    ("port_file", port_file),
    ("manifest", manifest),
    ("registry", registry),
    ("trust", trust),
    ("user_settings", user_settings),
    ("api", api),
    ("names", names),
    ("shim", shim),
    ("admission", admission),
    ("detect", detect),
    ("announcement", announcement),
    ("announce", announce),
];

// ---- the port file

/// A port file that is read is within bounds, survives a rewrite, leads nowhere but to this machine, and is called stale
/// by proof alone.
pub(crate) fn port_file(data: &[u8]) {
    let Ok(record) = PortFile::parse(data) else { return };
    assert!((2..=MAX_PID).contains(&record.pid) && record.port >= 1, "{record:?}");
    let bytes = record.to_bytes();
    assert_eq!(PortFile::parse(&bytes).as_ref(), Ok(&record), "a rewrite changes it");
    if let Ok(host) = record.host.parse() {
        only_loopback_is_opened(host, record.port, record.url.as_deref().unwrap_or("/"));
    }
    every_evidence(&record, |evidence| only_proof_makes_it_stale(&record, evidence));
}

fn only_loopback_is_opened(host: IpAddr, port: u16, path: &str) {
    let Some(reached) = connect_host(host) else { return };
    assert!(reached.is_loopback(), "{host} is reached as {reached}");
    let authority = match reached {
        IpAddr::V4(v4) => format!("http://{v4}:{port}/"),
        IpAddr::V6(v6) => format!("http://[{v6}]:{port}/"),
    };
    assert!(loopback_url(reached, port, path).starts_with(&authority), "{path:?} leads out of {authority}");
}

/// Calls `check` with everything that could be seen of a record, true or not.
fn every_evidence(record: &PortFile, check: impl Fn(&Evidence)) {
    let own = record.claimed_instance().unwrap_or_else(|| instance(record.pid, "boot"));
    let written = Timestamp(1_000_000);
    let alive = |instance: Instance, at| ProcessEvidence::Alive { instance, started_at: Some(Timestamp(at)) };
    let processes = [
        ProcessEvidence::Gone,
        ProcessEvidence::Thread,
        ProcessEvidence::Zombie,
        ProcessEvidence::Elsewhere,
        ProcessEvidence::Unknown("EIO".to_owned()),
        alive(own.clone(), written.0 - 1),
        alive(own.clone(), written.0 + 60_000),
        alive(Instance { start: own.start.wrapping_add(1), ..own.clone() }, written.0 - 1),
    ];
    let holder = Holder { address: [127, 0, 0, 1].into(), port: record.port, owner: own.clone() };
    let sockets = [
        SocketEvidence::Nobody,
        SocketEvidence::Tree(holder),
        SocketEvidence::Others { holder: None },
        SocketEvidence::Unreadable { pid: record.pid },
        SocketEvidence::Unknown("EIO".to_owned()),
    ];
    for process in &processes {
        for sockets in &sockets {
            for boot_id in [&own.boot_id, "another"] {
                for pid_ns in [None, own.pid_ns, Some(7)] {
                    let (process, sockets, boot_id) = (process.clone(), sockets.clone(), boot_id.to_owned());
                    check(&Evidence { boot_id, pid_ns, written_at: Some(written), process, sockets });
                }
            }
        }
    }
}

fn instance(pid: u32, boot_id: &str) -> Instance {
    Instance { pid, start: 7, boot_id: boot_id.to_owned(), pidfd_inode: None, pid_ns: None }
}

fn only_proof_makes_it_stale(record: &PortFile, evidence: &Evidence) {
    let verdict = judge(record, evidence);
    let alive = match &evidence.process {
        ProcessEvidence::Alive { instance, started_at } => Some((instance, *started_at)),
        _ => None,
    };
    let is_of_this_boot = record.instance.as_ref().is_none_or(|mark| mark.boot_id == evidence.boot_id);
    let has_proof = match &verdict {
        Verdict::Live => is_of_this_boot && alive.is_some() && matches!(evidence.sockets, SocketEvidence::Tree(_)),
        Verdict::Unsure(_) => true,
        Verdict::Stale(Stale::EarlierBoot) => !is_of_this_boot,
        Verdict::Stale(Stale::ProcessGone { .. }) => evidence.process == ProcessEvidence::Gone,
        Verdict::Stale(Stale::NotAProcess { .. }) => evidence.process == ProcessEvidence::Thread,
        Verdict::Stale(Stale::Zombie { .. }) => evidence.process == ProcessEvidence::Zombie,
        Verdict::Stale(Stale::PidReused { .. }) => alive.is_some_and(|(living, started_at)| {
            match (record.claimed_instance(), started_at.zip(evidence.written_at)) {
                (Some(claimed), _) => !claimed.is_same_life(living),
                (None, times) => times.is_some_and(|(started, written)| started > written),
            }
        }),
        Verdict::Stale(Stale::PortTaken { .. }) => matches!(evidence.sockets, SocketEvidence::Others { .. }),
        Verdict::Stale(Stale::Invalid(_)) => false,
    };
    assert!(has_proof, "{verdict} of {record:?} by {evidence:?}");
}

// ---- settings

/// Settings that are read can be meant: one default server, paths inside the repo, dependencies that are there; they
/// mean the same when they are printed, and no two different commands look the same to whoever approves them.
pub(crate) fn manifest(data: &[u8]) {
    let Some(manifest) = std::str::from_utf8(data).ok().and_then(|text| Manifest::parse(text).ok()) else { return };
    assert_eq!(manifest.servers.iter().filter(|server| server.default).count(), 1);
    for server in &manifest.servers {
        can_be_meant(&manifest, server);
        is_approved_as_shown(&manifest, server);
        is_filled(server);
        for host in ["127.0.0.1", "::", "192.168.1.1"] {
            only_loopback_is_opened(host.parse().expect("an address"), 80, &server.open_path);
        }
    }
    assert_eq!(Manifest::parse(&printed(&manifest)).as_ref(), Ok(&manifest), "printed, it means another thing");
}

/// Whatever is found in a repo of any files can be meant as settings can, is approved as it is shown, and means the same
/// once it is written down. A file begins with a line of `>>> ` and its path.
pub(crate) fn detect(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let files: std::collections::BTreeMap<PathBuf, &str> =
        text.split(">>> ").filter_map(|file| file.split_once('\n')).map(|(path, text)| (path.into(), text)).collect();
    let read = |path: &Path| files.get(&plain(path)).map(|text| text.as_bytes().to_vec());
    let list = |folder: &Path| {
        let below = files.keys().filter_map(|path| path.strip_prefix(plain(folder)).ok().map(Path::to_owned));
        let entry = |rest: PathBuf| {
            let mut parts = rest.components();
            let name = parts.next()?.as_os_str().to_str()?.to_owned();
            Some(Entry { name, is_folder: parts.next().is_some() })
        };
        below.filter_map(entry).collect::<Vec<_>>()
    };
    let reader = Reader { read: &read, list: &list };
    let found = pierhead::settings::detect::detect(reader, Thoroughness::Everything);
    let servers = pierhead::settings::detect::detect(reader, Thoroughness::Servers).servers;
    assert_eq!(servers, found.servers, "what runs depends on how much is looked for");
    let commented: Vec<Commented> = found.servers.iter().map(Commented::from).collect();
    let text = written(&commented, &found);
    let manifest = found.manifest();
    assert_eq!(manifest.servers.iter().filter(|server| server.default).count(), 1);
    for server in &manifest.servers {
        can_be_meant(&manifest, server);
        is_approved_as_shown(&manifest, server);
    }
    let read = Manifest::parse(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    assert_eq!(read, manifest, "written down, it means another thing:\n{text}");
}

fn plain(path: &Path) -> PathBuf {
    path.components().filter(|part| *part != std::path::Component::CurDir).collect()
}

fn can_be_meant(manifest: &Manifest, server: &ServerSettings) {
    assert!(is_valid_name(&server.name), "{:?}", server.name);
    assert_eq!(manifest.server(&server.name), Some(server), "two servers have one name");
    for path in server.env_file.iter().chain([&server.cwd]) {
        let is_inside = |part| matches!(part, std::path::Component::Normal(_) | std::path::Component::CurDir);
        assert!(path.components().all(is_inside), "{} leads out of the repo", path.display());
    }
    assert_ne!(server.port, Some(0));
    for needed in &server.depends_on {
        assert!(manifest.server(needed).is_some_and(|other| other.name != server.name), "{needed}");
    }
    let paths = [
        server.health.as_ref().map(|health| &health.path),
        match &server.ready {
            Ready::Path(path) => Some(path),
            Ready::Listen | Ready::Http | Ready::Log(_) | Ready::File => None,
        },
    ];
    assert!(paths.into_iter().flatten().all(|path| path.starts_with('/')));
}

fn is_approved_as_shown(manifest: &Manifest, server: &ServerSettings) {
    let Some(approval) = approval_of(server, |_| None) else {
        assert_eq!(server.command, None);
        return;
    };
    let facts = 2 + server.env.len() + server.env_file.len();
    assert_eq!(approval.text.lines().count(), facts, "{:?}", approval.text);
    let hides = |c: &char| c.is_control() && !matches!(c, '\n' | '\t');
    assert_eq!(approval.text.chars().find(hides), None, "{:?}", approval.text);
    for other in &manifest.servers {
        if approval_of(other, |_| None).as_ref() == Some(&approval) {
            let runs = |s: &ServerSettings| (s.command.clone(), s.cwd.clone(), s.env.clone(), s.env_file.clone());
            assert_eq!(runs(server), runs(other), "two commands look the same:\n{}", approval.text);
        }
    }
}

fn is_filled(server: &ServerSettings) {
    let placeholders = Placeholders { port: 80, host: "h".to_owned(), ..Placeholders::default() };
    let texts = server.env.values().cloned().chain(server.command.as_ref().map(ToString::to_string));
    for text in texts {
        if let Ok(filled) = fill(&text, &placeholders) {
            assert!(!filled.contains("{port}") && !filled.contains("{host}"), "{text:?} became {filled:?}");
            assert!(text.contains('{') || filled == text, "{text:?} became {filled:?}");
        }
    }
}

/// A manifest as text, with every value written out.
fn printed(manifest: &Manifest) -> String {
    let mut servers = toml::Table::new();
    for server in &manifest.servers {
        servers.insert(server.name.clone(), table(server).into());
    }
    toml::Table::from_iter([("servers".to_owned(), servers.into())]).to_string()
}

fn table(server: &ServerSettings) -> toml::Table {
    let text = |text: &dyn ToString| toml::Value::from(text.to_string());
    let paths = server.env_file.iter().map(|path| text(&path.display())).collect::<Vec<_>>();
    let env = server.env.iter().map(|(key, value)| (key.clone(), text(value))).collect::<toml::Table>();
    let announce = server.announce.as_ref().map(|announce| {
        let path = announce.path.iter().map(|path| ("path", path.clone().into()));
        let form = match &announce.format {
            Format::Json(pointer) => vec![("format", "json".into()), ("pointer", pointer.clone().into())],
            Format::Text => vec![("format", "text".into())],
            Format::Line(line) => vec![("format", "line".into()), ("line", i64::from(*line).into())],
            Format::Log(pattern) => vec![("format", "log".into()), ("pattern", pattern.clone().into())],
        };
        let fields: Vec<(&str, toml::Value)> = path.chain(form).collect();
        fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect::<toml::Table>()
    });
    let command = server.command.as_ref().map(|command| match command {
        CommandLine::Shell(line) => text(line),
        CommandLine::Argv(words) => toml::Value::from(words.clone()),
    });
    let ready = match &server.ready {
        Ready::Listen => "listen".to_owned(),
        Ready::Http => "http".to_owned(),
        Ready::Path(path) => format!("http:{path}"),
        Ready::Log(pattern) => format!("log:{pattern}"),
        Ready::File => "file".to_owned(),
    };
    let restart = match server.restart {
        Restart::Always => "always",
        Restart::OnFailure => "on-failure",
        Restart::Never => "never",
    };
    let always = [
        ("default", toml::Value::from(server.default)),
        ("cwd", text(&server.cwd.display())),
        ("port", i64::from(server.port.unwrap_or(0)).into()),
        ("env", env.into()),
        ("env_file", paths.into()),
        ("ready", ready.into()),
        ("ready_timeout", text(&humantime::format_duration(server.ready_timeout))),
        ("restart", restart.into()),
        ("autostart", server.autostart.into()),
        ("stop_signal", text(&server.stop_signal)),
        ("stop_timeout", text(&humantime::format_duration(server.stop_timeout))),
        ("depends_on", server.depends_on.clone().into()),
        ("open_path", text(&server.open_path)),
    ];
    let health = server.health.as_ref().map(|health| ("health", format!("http:{}", health.path).into()));
    let announce = announce.map(|announce| ("announce", announce.into()));
    let sometimes = command.map(|command| ("command", command)).into_iter().chain(health).chain(announce);
    always.into_iter().chain(sometimes).map(|(key, value)| (key.to_owned(), value)).collect()
}

/// What is registered has a usable name and an absolute path, each once, and survives a rewrite.
pub(crate) fn registry(data: &[u8]) {
    let Some(registry) = std::str::from_utf8(data).ok().and_then(|text| Registry::parse(text).ok()) else { return };
    for repo in &registry.repos {
        assert!(is_valid_name(&repo.name) && repo.root.is_absolute(), "{repo:?}");
        assert_eq!(
            (registry.named(&repo.name), registry.at(&repo.root)),
            (Some(repo), Some(repo)),
            "it is there twice"
        );
        assert!(registry.holding(&repo.root.join("inside")).is_some());
    }
    assert_eq!(Registry::parse(&registry.to_text()).as_ref(), Ok(&registry), "a rewrite changes it");
}

/// Approvals survive a rewrite, and one more changes no other.
pub(crate) fn trust(data: &[u8]) {
    let Some(trust) = std::str::from_utf8(data).ok().and_then(|text| Trust::parse(text).ok()) else { return };
    assert_eq!(Trust::parse(&trust.to_text()).as_ref(), Ok(&trust), "a rewrite changes it");
    let manifest = Manifest::parse("[servers.web]\ncommand = 'x'").expect("settings");
    let approval = approval_of(&manifest.servers[0], |_| None).expect("it has a command");
    let (root, server) = (std::path::Path::new("/src/never-approved"), "web");
    assert!(trust.knows(root, server) || !trust.holds(root, server, &approval));
    let mut more = trust.clone();
    more.approve(root, server, approval.clone());
    assert!(more.holds(root, server, &approval) && more.difference(root, server, &approval).is_empty());
    for known in trust.approved.iter().filter(|known| known.root != root) {
        assert!(more.knows(&known.root, &known.server));
    }
}

/// The user's settings are within their bounds, and mean the same when they are printed.
pub(crate) fn user_settings(data: &[u8]) {
    let Some(settings) = std::str::from_utf8(data).ok().and_then(|text| UserSettings::parse(text).ok()) else { return };
    assert!(settings.first_port >= 1 && settings.first_port <= settings.last_port, "{settings:?}");
    assert!(settings.log_bytes >= 64 * 1024, "{settings:?}");
    assert!(!settings.environment_timeout.is_zero() && settings.environment_timeout.as_secs() <= 120, "{settings:?}");
    let UserSettings { log_bytes, first_port, last_port, discovery_port, environment_timeout, .. } = settings;
    let environment = match settings.environment {
        Environment::LoginShell => "login-shell",
        Environment::Daemon => "daemon",
    };
    let worktrees = match settings.worktrees {
        Worktrees::Offer => "offer",
        Worktrees::Register => "register",
        Worktrees::Off => "off",
    };
    let timeout = humantime::format_duration(environment_timeout);
    let text = format!(
        "log_bytes = {log_bytes}\nfirst_port = {first_port}\nlast_port = {last_port}\ndiscovery_port = {discovery_port}\n\
         environment = '{environment}'\nenvironment_timeout = '{timeout}'\nworktrees = '{worktrees}'"
    );
    assert_eq!(UserSettings::parse(&text), Ok(settings));
}

// ---- what goes over the wire

/// Whatever is read of requests and answers means the same when it is passed on.
pub(crate) fn api(data: &[u8]) {
    passes_on::<Request>(data);
    passes_on::<Asked>(data);
    passes_on::<Servers>(data);
    passes_on::<DaemonStatus>(data);
    passes_on::<Line>(data);
    passes_on::<Failure>(data);
    if let Ok(request) = serde_json::from_slice::<Request>(data) {
        request.targets.iter().for_each(|target| names(target.as_bytes()));
    }
}

/// A name that is taken is one that folders, URLs and arguments can carry, and any text can be made one.
pub(crate) fn names(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if let Ok(id) = text.parse::<ServerId>() {
        assert_eq!(id.to_string(), text);
        for name in [&id.repo, &id.server] {
            assert!(is_valid_name(name), "{name:?}");
            let path = std::path::Path::new(name);
            assert_eq!(path.file_name(), Some(path.as_os_str()), "{name:?} is not one folder");
            assert!(!name.starts_with(['-', '.']) && name.len() <= 64 && name.is_ascii(), "{name:?}");
        }
    }
    let made = sanitize_name(&text);
    assert!(is_valid_name(&made), "{text:?} became {made:?}");
    assert_eq!(sanitize_name(&made), made);
}

/// What daemon and shim leave for each other is read by the next one as it was meant.
pub(crate) fn shim(data: &[u8]) {
    passes_on::<Order>(data);
    passes_on::<Record>(data);
    passes_on::<Ended>(data);
}

/// What is read and written is read and written the same again. (Not: equal to what was read. Times are written in whole
/// seconds.)
fn passes_on<T: Serialize + DeserializeOwned + Debug>(data: &[u8]) {
    let Ok(value) = serde_json::from_slice::<T>(data) else { return };
    let written = serde_json::to_string(&value).expect("what was read can be written");
    let again: T = serde_json::from_str(&written).unwrap_or_else(|error| panic!("{error}: {value:?} as {written}"));
    assert_eq!(serde_json::to_string(&again).expect("it can be written again"), written);
}

/// Who is admitted to discovery has one `Host` of this machine and nothing foreign; one more foreign header shuts it out.
pub(crate) fn admission(data: &[u8]) {
    let port = 3913;
    let values = |name: &str| -> Vec<&[u8]> {
        let headers = data.split(|byte| *byte == b'\n').filter_map(|line| {
            let at = line.iter().position(|byte| *byte == b':')?;
            Some((&line[..at], line[at + 1..].trim_ascii()))
        });
        headers.filter(|(key, _)| key.eq_ignore_ascii_case(name.as_bytes())).map(|(_, value)| value).collect()
    };
    let (host, origin, sec_fetch_site) = (values("host"), values("origin"), values("sec-fetch-site"));
    let request = Provenance { names_authority: false, host, origin, sec_fetch_site };
    if let Err(refusal) = admit(port, &request) {
        assert!(matches!(refusal.status(), 400 | 403 | 421));
        return;
    }
    let authority = |value: &[u8]| {
        let text = std::str::from_utf8(value).expect("an admitted header is text").to_owned();
        let (name, number) = text.rsplit_once(':').expect("an admitted host has a port");
        assert_eq!(number.parse(), Ok(port), "{text}");
        let name = name.trim_start_matches('[').trim_end_matches(']');
        assert!(name == "localhost" || name.parse().is_ok_and(|ip: IpAddr| ip.is_loopback()), "{text}");
    };
    let [host] = request.host[..] else { panic!("admitted with {} hosts", request.host.len()) };
    authority(host);
    assert!(request.origin.len() <= 1 && request.sec_fetch_site.len() <= 1);
    if let [origin] = request.origin[..] {
        authority(origin.strip_prefix(b"http://").expect("an admitted origin is http"));
    }
    let with = |change: fn(&mut Provenance<'_>)| {
        let mut changed = request.clone();
        change(&mut changed);
        assert!(admit(port, &changed).is_err(), "admitted: {changed:?}");
    };
    with(|request| request.names_authority = true);
    with(|request| request.host.push(b"evil.test"));
    with(|request| request.host.insert(0, b"127.0.0.1:3913"));
    with(|request| request.origin.push(b"http://evil.test"));
    with(|request| request.origin = vec![b"null"]);
    with(|request| request.sec_fetch_site.push(b"cross-site"));
}

// ---- what other tools say

/// What any tool's file claims is within bounds, and a secret beside it is neither in the claim nor in an error.
pub(crate) fn announcement(data: &[u8]) {
    for tool in Tool::ALL {
        within_bounds(tool, data);
        let Ok(serde_json::Value::Object(mut fields)) = serde_json::from_slice(data) else { continue };
        for name in ["token", "password", "secret"] {
            fields.insert(name.to_owned(), "PLANTED-BESIDE-IT".into());
        }
        within_bounds(tool, &serde_json::to_vec(&fields).expect("JSON"));
    }
}

fn within_bounds(tool: Tool, data: &[u8]) {
    let said = tool.read(data);
    let words = said.as_ref().map_or_else(ToString::to_string, |said| format!("{said:?}"));
    assert!(!words.contains("PLANTED"), "{words}");
    if let Ok(said) = said {
        assert!(said.pid.is_none_or(|pid| (2..=MAX_PID).contains(&pid)) && said.port != Some(0), "{said:?}");
        assert!(said.pid.is_some() || said.port.is_some(), "{said:?} tells nothing");
        assert!(said.root.is_none_or(|root| root.is_absolute()));
    }
}

/// The first line is the form as the settings have it, the rest what is read by it: no port is 0.
pub(crate) fn announce(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let (form, text) = text.split_once('\n').unwrap_or((&text, ""));
    let (format, extra) = form.split_once(' ').unwrap_or((form, ""));
    let extra = (!extra.is_empty()).then(|| extra.to_owned());
    let (pointer, pattern) = (extra.clone().filter(|_| format == "json"), extra.clone().filter(|_| format == "log"));
    let line = extra.filter(|_| format == "line").and_then(|line| line.parse().ok());
    let Ok(announce) = Announce::new(format, Some("f".to_owned()), pointer.as_deref(), line, pattern.as_deref()) else {
        return;
    };
    assert_ne!(announce.port_in(text), Ok(0));
    let again = serde_json::to_string(&announce).expect("JSON");
    assert_eq!(serde_json::from_str::<Announce>(&again).expect("what was written"), announce);
}
