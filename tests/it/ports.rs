//! The port that is recorded is the one the server's own tree listens on.

use std::net::TcpListener;

use crate::limits::system::Signal;

use crate::http::{get, get_url};
use crate::sandbox::{Sandbox, kill};

#[test]
fn a_server_that_ignores_port_is_found_by_its_socket() {
    let sandbox = Sandbox::new();
    let repo = sandbox.repo("shop").server("web", "--ignore-port").add();
    sandbox.run(["up", "shop"]).ok();
    let told = get_url(&format!("http://127.0.0.1:{}/env?PORT", repo.port())).body;
    assert_ne!(told, repo.port().to_string());
}

#[test]
fn a_server_that_moves_is_followed() {
    let sandbox = Sandbox::new();
    let repo = sandbox.repo("shop").server("web", &format!("--move-when {}", sandbox.arg("move"))).add();
    let mut events = sandbox.events();
    sandbox.run(["up", "shop"]).ok();
    let (pid, old) = (repo.pid(), repo.port());
    sandbox.touch("move");
    let moved = events.wait("shop/web", "on another port", |s| s["state"] == "ready" && s["port"] != old);
    repo.wait_port(&moved);
    assert_eq!(get(repo.port()).body, format!("fixture {pid}\n"));
}

#[test]
fn a_server_that_writes_its_own_file_is_left_to_it() {
    let sandbox = Sandbox::new();
    let repo = sandbox.repo("shop").server("web", "--own-file").add();
    sandbox.run(["up", "shop"]).ok();
    let record = repo.record();
    assert_eq!(record["version"], "0.0.1");
    assert!(record.get("writer").is_none() && record.get("instance").is_none(), "{record}");
    assert_eq!(sandbox.run(["port", "shop"]).ok().line(), repo.port().to_string());
    sandbox.run(["down", "shop"]).ok();
    assert!(!repo.port_file().exists(), "it removes its file on INT only, and we sent TERM: the rest is ours");
}

#[test]
fn a_fixed_port_is_used() {
    let sandbox = Sandbox::new();
    let port = free_port();
    let repo = sandbox.repo("shop").server("web", "").set(&format!("port = {port}")).add();
    sandbox.run(["up", "shop"]).ok();
    assert_eq!(repo.port(), port);
}

#[test]
fn a_fixed_port_that_is_taken_names_its_holder() {
    let sandbox = Sandbox::new();
    let record = sandbox.arg("record");
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = holder.local_addr().unwrap().port();
    sandbox.repo("shop").server("web", &format!("--record {record}")).set(&format!("port = {port}")).add();
    let refused = sandbox.run(["up", "shop"]).code_is(1);
    let refused = refused.says(&port.to_string()).says(&std::process::id().to_string());
    assert!(refused.stderr.contains("hint: "), "{}", refused.stderr);
    drop(holder);
    sandbox.run(["up", "shop"]).ok();
}

#[test]
fn a_port_taken_on_any_of_four_addresses_is_not_given_out() {
    let sandbox = Sandbox::new();
    let repo = sandbox.repo("shop").server("web", "").add();
    for address in ["[::1]", "127.0.0.1", "0.0.0.0", "[::]"] {
        sandbox.run(["up", "shop"]).ok();
        let port = repo.port();
        sandbox.run(["down", "shop"]).ok();
        let Ok(_squatter) = TcpListener::bind(format!("{address}:{port}")) else {
            println!("skipped: cannot listen on {address}");
            continue;
        };
        sandbox.run(["up", "shop"]).ok();
        assert_ne!(repo.port(), port, "{address}:{port} was taken");
        sandbox.run(["down", "shop"]).ok();
    }
}

#[test]
fn the_url_has_the_address_that_the_server_listens_on() {
    for (host, url_host) in [("127.0.0.1", "127.0.0.1"), ("0.0.0.0", "127.0.0.1"), ("::1", "[::1]")] {
        if TcpListener::bind((host, 0)).is_err() {
            println!("skipped: cannot listen on {host}");
            continue;
        }
        let sandbox = Sandbox::new();
        let repo = sandbox.repo("shop").server("web", &format!("--host {host}")).add();
        let url = sandbox.run(["up", "shop"]).ok().line().to_owned();
        assert_eq!(url, format!("http://{url_host}:{}/", repo.port()));
        assert_eq!(get_url(&url).body, format!("fixture {}\n", repo.pid()));
    }
}

#[test]
#[cfg(unix)] // a socket that is inherited
fn the_topmost_owner_is_recorded_not_the_wrapper() {
    let sandbox = Sandbox::new();
    let repo = sandbox
        .repo("shop")
        .server("web", "--grandchild --grandchild --workers 2")
        .set("ready = \"log:listening\"")
        .add();
    sandbox.run(["up", "shop"]).ok();
    let owner = repo.pid();
    let parent = |pid: u32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        stat.rsplit_once(") ").unwrap().1.split(' ').nth(1).unwrap().parse::<u32>().unwrap()
    };
    let wrappers: Vec<u32> =
        sandbox.fixtures().into_iter().filter(|pid| parent(*pid) != owner && *pid != owner).collect();
    assert_eq!(wrappers.len(), 2, "above the owner are two wrappers, below it two workers");
    assert!(wrappers.contains(&parent(owner)));
}

#[test]
fn two_servers_never_share_a_port() {
    let sandbox = Sandbox::new();
    let names: Vec<String> = (0..8).map(|n| format!("repo{n}")).collect();
    let repos: Vec<_> = names.iter().map(|name| sandbox.repo(name).server("web", "").add()).collect();
    sandbox.run(["up", "--all"]).ok();
    let mut ports: Vec<u16> = repos.iter().map(crate::repo::Repo::port).collect();
    ports.sort_unstable();
    ports.dedup();
    assert_eq!(ports.len(), names.len());
}

#[test]
fn a_watcher_whose_child_died_is_not_serving_and_has_no_file() {
    let sandbox = Sandbox::new();
    let repo = sandbox.repo("shop").server("web", &format!("--close-when {}", sandbox.arg("close"))).add();
    let mut events = sandbox.events();
    sandbox.run(["up", "shop"]).ok();
    let pid = repo.pid();
    sandbox.touch("close");
    events.wait_state("shop/web", "not-serving");
    repo.wait_no_file();
    sandbox.run(["port", "shop"]).code_is(3);
    std::fs::remove_file(sandbox.path("close")).unwrap();
    let status = events.wait_served("shop/web");
    assert_eq!(status["pid"], pid, "the same process serves again");
    assert_eq!(get(repo.port()).status, 200);
}

#[test]
fn a_restarted_server_gets_its_old_port_back() {
    let sandbox = Sandbox::new();
    let repo = sandbox.repo("shop").server("web", "").add();
    let mut events = sandbox.events();
    sandbox.run(["up", "shop"]).ok();
    let (pid, port) = (repo.pid(), repo.port());
    kill(pid, Signal::KILL);
    let status = events.wait_ready_again("shop/web", pid);
    assert_eq!(status["port"], port);
}

fn free_port() -> u16 {
    // Below the ephemeral range, so that no outgoing connection takes it meanwhile.
    let is_free =
        |port: &u16| TcpListener::bind(("0.0.0.0", *port)).is_ok() && TcpListener::bind(("::", *port)).is_ok();
    let start = 10_000 + u16::try_from(std::process::id() % 9_000).unwrap_or(0);
    (start..start + 500).find(is_free).expect("a free port")
}
