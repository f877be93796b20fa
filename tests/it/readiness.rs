//! What counts as ready, and as healthy.

#[cfg(unix)]
use crate::limits::system::Signal;
use crate::sandbox::Sandbox;
#[cfg(unix)]
use crate::sandbox::kill;

#[test]
fn listening_is_ready_by_default() {
    let sandbox = Sandbox::new();
    sandbox.repo("shop").server("web", "--no-answer").add();
    sandbox.run(["up", "shop"]).ok();
}

#[test]
fn with_http_a_server_that_never_answers_is_never_ready() {
    let sandbox = Sandbox::new();
    let repo = sandbox.repo("shop").server("web", "--no-answer").set("ready = \"http\"").add();
    sandbox.run(["up", "shop", "--timeout", "1500ms"]).code_is(7);
    assert_eq!(sandbox.status("shop")["state"], "starting");
    assert!(!repo.port_file().exists() || repo.port() > 0);
}

#[test]
fn with_http_any_complete_answer_is_ready() {
    let sandbox = Sandbox::new();
    sandbox.repo("shop").server("web", "--status 500").set("ready = \"http\"").add();
    sandbox.run(["up", "shop"]).ok();
}

#[test]
fn with_a_path_only_success_is_ready() {
    let sandbox = Sandbox::new();
    let switch = format!("--status-when {}=503", sandbox.arg("warming"));
    sandbox.touch("warming");
    sandbox.repo("shop").server("web", &switch).set("ready = \"http:/healthz\"").add();
    let mut events = sandbox.events();
    let up = sandbox.start(&mut sandbox.command(["up", "shop"]));
    let is_refused = |s: &serde_json::Value| s["reason"].as_str().is_some_and(|reason| reason.contains("answered 503"));
    assert_eq!(events.wait("shop/web", "asked", is_refused)["state"], "starting");
    std::fs::remove_file(sandbox.path("warming")).unwrap();
    up.finish().ok();
}

#[test]
fn with_log_a_matching_line_is_ready() {
    let sandbox = Sandbox::new();
    let args = "--print compiling --print-after compiled_in_12_ms";
    sandbox.repo("shop").server("web", args).set("ready = 'log:compiled_in_\\d+'").add();
    sandbox.run(["up", "shop"]).ok();
    sandbox.repo("blog").server("web", "--print compiling").set("ready = 'log:compiled_in_\\d+'").add();
    sandbox.run(["up", "blog", "--timeout", "500ms"]).code_is(7);
}

#[test]
fn with_log_a_line_after_much_else_counts_too() {
    let sandbox = Sandbox::new();
    let args = format!("--print-bytes {}", 8 << 20);
    sandbox.repo("shop").server("web", &args).set("ready = 'log:^done$'").add();
    sandbox.run(["up", "shop"]).ok();
}

#[test]
fn with_file_the_servers_own_file_is_ready() {
    let sandbox = Sandbox::new();
    let repo = sandbox.repo("shop").server("web", "--own-file").set("ready = \"file\"").add();
    sandbox.run(["up", "shop"]).ok();
    assert_eq!(repo.record()["version"], "0.0.1");
    sandbox.repo("blog").server("web", "").set("ready = \"file\"").add();
    sandbox.run(["up", "blog", "--timeout", "500ms"]).code_is(7);
}

#[test]
#[cfg(unix)] // a process that stands still
fn a_stopped_server_is_unhealthy_until_it_goes_on() {
    let sandbox = Sandbox::new();
    let repo = sandbox.repo("shop").server("web", "").set("health = \"http:/healthz\"").add();
    let mut events = sandbox.events();
    sandbox.run(["up", "shop"]).ok();
    let pid = repo.pid();
    kill(pid, Signal::STOP);
    events.wait_state("shop/web", "unhealthy");
    kill(pid, Signal::CONT);
    let status = events.wait_state("shop/web", "ready");
    assert_eq!(status["pid"], pid, "nobody restarted it");
}
