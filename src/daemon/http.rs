//! The API: HTTP and JSON on the local socket.

use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::rejection::JsonRejection;
use axum::extract::{Query, Request as HttpRequest, State};
use axum::http::{HeaderValue, StatusCode};
use axum::response::sse::{Event as SseEvent, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::{broadcast, oneshot};

use super::connections::{self, Connections, Limits};
use super::discovery::Discovery;
use super::environment::{Environments, environment_problem};
use super::message::{Known, Message};
use super::openapi;
use crate::api::{
    Adopt, Asked, ENVIRONMENT, Environment, Failure, Kind, Line, PROGRAM_VERSION, Request, Servers, VERSION_HEADER,
    Verb, is_about,
};
use crate::model::ServerId;
use crate::os::channel::Server;
use crate::settings::{Repo, ServerSettings, Trust};
use crate::supervisor::{Event, Plan};
use crate::survey::{Files, LastRun, Store, check_trust, plans_of, run_record};

type Post = UnboundedSender<Message>;

/// What every answer may need.
#[derive(Clone)]
pub(super) struct Desk {
    pub(super) post: Post,
    pub(super) store: Store,
    /// `None` when it is switched off.
    pub(super) discovery: Option<Discovery>,
    pub(super) environments: Environments,
}

/// Generous, as it is one's own programs that ask; a limit all the same, so that one that has gone wrong leaves room.
const LIMITS: Limits = Limits {
    connections: 256,
    header_bytes: 64 << 10,
    body_bytes: 1 << 20,
    patience: Duration::from_secs(10),
    keep_alive: true,
};

/// Serves until the daemon ends.
pub(super) async fn serve(server: Server, desk: Desk) {
    let connections = Connections::new(router(desk), LIMITS);
    loop {
        match server.accept().await {
            Ok(stream) => connections.take(stream),
            Err(error) => {
                tracing::warn!("a connection was not taken: {error}");
                // At the limit of open files this would spin: 226,640 errors a second were measured.
                if error.kind() != std::io::ErrorKind::PermissionDenied {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
    }
}

fn router(state: Desk) -> Router {
    Router::new()
        .route("/v1/openapi.json", get(async || Json(openapi::document())))
        .route("/v1/daemon", get(daemon))
        .route("/v1/servers", get(servers))
        .route("/v1/environment", get(environment).post(environment_anew))
        .route("/v1/events", get(events))
        .route("/v1/up", post(async |state, body| ask(Verb::Up, state, body).await))
        .route("/v1/down", post(async |state, body| ask(Verb::Down, state, body).await))
        .route("/v1/restart", post(async |state, body| ask(Verb::Restart, state, body).await))
        .route("/v1/wait", post(async |state, body| ask(Verb::Wait, state, body).await))
        .route("/v1/adopt", post(adopt))
        .route("/v1/reload", post(reload))
        .route("/v1/reap", post(reap))
        .route("/v1/shutdown", post(shutdown))
        .method_not_allowed_fallback(async || refuse(&Failure::new(Kind::Usage, "this path takes another method")))
        .fallback(async || refuse(&Failure::new(Kind::Usage, "there is no such path")))
        .layer(axum::middleware::map_request_with_state(state.clone(), note_version))
        .layer(axum::middleware::map_response(async |mut response: Response| {
            response.headers_mut().insert(VERSION_HEADER, HeaderValue::from_static(PROGRAM_VERSION));
            response
        }))
        .with_state(state)
}

async fn note_version(State(Desk { post, .. }): State<Desk>, request: HttpRequest) -> HttpRequest {
    // Who tells none is a script.
    if request.headers().get(VERSION_HEADER).is_some_and(|version| version != PROGRAM_VERSION) {
        let _ = post.send(Message::Heir);
    }
    request
}

fn refuse(failure: &Failure) -> Response {
    let status = StatusCode::from_u16(failure.kind.http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    connections::refuse(status, failure)
}

fn ending() -> Failure {
    Failure::new(Kind::DaemonUnreachable, "the daemon is ending")
}

/// Sends a message that carries the way back, and waits for the answer.
pub(super) async fn tell<T>(post: &Post, message: impl FnOnce(oneshot::Sender<T>) -> Message) -> Result<T, Failure> {
    let (reply, answer) = oneshot::channel();
    post.send(message(reply)).map_err(|_| ending())?;
    answer.await.map_err(|_| ending())
}

async fn answer<T: serde::Serialize>(work: impl Future<Output = Result<T, Failure>>) -> Response {
    match work.await {
        Ok(value) => Json(value).into_response(),
        Err(failure) => refuse(&failure),
    }
}

async fn daemon(State(Desk { post, discovery, .. }): State<Desk>) -> Response {
    answer(async {
        let mut status = tell(&post, Message::Describe).await?;
        if let Some(discovery) = discovery {
            status.warnings.extend(discovery.problems().await);
        }
        Ok(status)
    })
    .await
}

#[derive(Deserialize)]
struct Filter {
    repo: Option<String>,
}

async fn servers(State(desk): State<Desk>, Query(filter): Query<Filter>) -> Response {
    answer(async {
        let Known { mut servers, mut offers, mut warnings } = tell(&desk.post, Message::List).await?;
        if let Some(repo) = filter.repo {
            servers.retain(|status| status.repo == repo);
            offers.retain(|offer| offer.repo == repo);
            warnings = warnings_about(&desk, &repo, warnings).await;
        }
        Ok(Servers { offers, warnings, ..Servers::new(servers) })
    })
    .await
}

/// Of what is said of all repos that which concerns one. Of the environment, of which all are told once, what is wrong
/// with that of this repo.
async fn warnings_about(desk: &Desk, repo: &str, mut warnings: Vec<String>) -> Vec<String> {
    let is_any_environment = warnings.iter().any(|warning| is_about(warning, ENVIRONMENT));
    warnings.retain(|warning| is_about(warning, repo));
    if is_any_environment {
        let report = report_of(desk.clone(), repo.to_owned()).await.ok();
        let problem = report.and_then(|report| report.problem);
        warnings.extend(problem.map(|problem| environment_problem(&problem)));
    }
    warnings
}

#[derive(Deserialize)]
struct Of {
    repo: String,
}

async fn environment(State(desk): State<Desk>, Query(of): Query<Of>) -> Response {
    answer(report_of(desk, of.repo)).await
}

async fn report_of(desk: Desk, repo: String) -> Result<Environment, Failure> {
    in_thread(move || {
        let repo = registered(&desk.store, &repo)?;
        Ok(desk.environments.report(&repo.name, &repo.root))
    })
    .await
}

/// Asks the shell, but for a repo of which nothing is approved: hooks of a shell may run what is in the folder.
async fn environment_anew(State(desk): State<Desk>, Query(of): Query<Of>) -> Response {
    answer(in_thread(move || {
        let repo = registered(&desk.store, &of.repo)?;
        let plans = plans_of(&repo, &desk.store.trust().value, desk.store.places());
        if !plans.is_ok_and(|plans| plans.iter().any(|plan| plan.trusted && plan.settings.command.is_some())) {
            let what = format!("no command of `{}` is approved", repo.name);
            let hint = format!("`pierhead trust {}` shows them and asks", repo.name);
            return Err(Failure::new(Kind::NotTrusted, what).hint(hint));
        }
        desk.environments.forget(Some(&repo.root));
        drop(desk.environments.of(&repo.root));
        Ok(desk.environments.report(&repo.name, &repo.root))
    }))
    .await
}

fn registered(store: &Store, name: &str) -> Result<Repo, Failure> {
    store.registry().value.named(name).cloned().ok_or_else(|| Failure::not_registered(name))
}

async fn in_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| Failure::new(Kind::Failed, error.to_string()))?
}

async fn adopt(State(Desk { post, .. }): State<Desk>, body: Result<Json<Adopt>, JsonRejection>) -> Response {
    answer(async {
        let Json(adopt) = body.map_err(|error| Failure::new(Kind::Usage, error.body_text()))?;
        let (id, looked) = tell(&post, |reply| Message::Adopt(adopt, reply)).await??;
        looked.await.map_err(|_| ending())?;
        let mut servers = tell(&post, Message::List).await?.servers;
        servers.retain(|status| status.id() == id);
        Ok(Asked { servers, timed_out: false })
    })
    .await
}

async fn reload(State(Desk { post, .. }): State<Desk>) -> Response {
    answer(tell(&post, |reply| Message::Reload(Some(reply)))).await
}

async fn reap(State(Desk { post, .. }): State<Desk>) -> Response {
    answer(async {
        tell(&post, Message::Reap).await?;
        Ok(Servers::new(tell(&post, Message::List).await?.servers))
    })
    .await
}

async fn shutdown(State(Desk { post, .. }): State<Desk>) -> Response {
    // The answer must be on its way before the runtime ends.
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(20)).await;
        let _ = post.send(Message::End);
    });
    Json(()).into_response()
}

async fn ask(
    verb: Verb,
    State(Desk { post, store, environments, .. }): State<Desk>,
    body: Result<Json<Request>, JsonRejection>,
) -> Response {
    answer(async {
        let Json(request) = body.map_err(|error| Failure::new(Kind::Usage, error.body_text()))?;
        if !request.all && request.targets.is_empty() {
            return Err(Failure::new(Kind::Usage, "no server is named: give `targets` or `all`"));
        }
        let targets = request.targets.clone();
        let is_fresh = request.fresh_env;
        let is_start = matches!(verb, Verb::Up | Verb::Restart);
        let prepared = tokio::task::spawn_blocking(move || {
            if is_fresh {
                forget_environments(&store, &environments, &targets);
            }
            prepare(&store, &targets, is_start)
        })
        .await;
        let (events, refused) = prepared.map_err(|error| Failure::new(Kind::Failed, error.to_string()))?;
        post.send(Message::Events(events)).map_err(|_| ending())?;
        refused?;
        tell(&post, |reply| Message::Ask { verb, request, reply }).await?
    })
    .await
}

/// The start asks the shell again. Without targets all are meant.
fn forget_environments(store: &Store, environments: &Environments, targets: &[String]) {
    if targets.is_empty() {
        environments.forget(None);
    }
    for target in targets {
        if let Ok(repo) = registered(store, target.split('/').next().unwrap_or(target)) {
            environments.forget(Some(&repo.root));
        }
    }
}

/// Reads the settings of the repos that are named, as they are at this moment; refuses what is not approved. What was
/// read is told in any case.
fn prepare(store: &Store, targets: &[String], is_start: bool) -> (Vec<Event>, Result<(), Failure>) {
    let mut events = Vec::new();
    let refused = prepare_each(store, targets, is_start, &mut events);
    (events, refused)
}

fn prepare_each(store: &Store, targets: &[String], is_start: bool, events: &mut Vec<Event>) -> Result<(), Failure> {
    let registry = store.registry().value;
    let trust = store.trust().value;
    for target in targets {
        let (name, server) = target.split_once('/').map_or((target.as_str(), None), |(n, s)| (n, Some(s)));
        let repo = registry.named(name).ok_or_else(|| Failure::not_registered(target))?;
        let broken = |problem: String| {
            Failure::new(Kind::Failed, format!("the settings of `{name}` cannot be used: {problem}"))
                .hint(format!("see `{}`", repo.root.join(crate::settings::MANIFEST_NAME).display()))
        };
        let plans = match plans_of(repo, &trust, store.places()) {
            Ok(plans) => plans,
            Err(problem) if is_start => return Err(broken(problem)),
            // What runs can be stopped and waited for, whatever became of its settings.
            Err(_) => continue,
        };
        let refused = if is_start { refuse_untrusted(repo, server, &plans, &trust) } else { Ok(()) };
        let ids: Vec<ServerId> = plans.iter().map(|plan| ServerId::new(&repo.name, &plan.settings.name)).collect();
        events.push(Event::Configured { repo: repo.name.clone(), root: repo.root.clone(), plans, problem: None });
        // One that runs already is taken over, if that has not been done: what is asked next is asked of it.
        events.extend(ids.into_iter().filter_map(|id| match run_record(&store.places().server(&id)) {
            Some(LastRun::Alive(adoption)) => Some(Event::Adopted { id, adoption }),
            _ => None,
        }));
        refused?;
    }
    Ok(())
}

fn refuse_untrusted(repo: &Repo, server: Option<&str>, plans: &[Plan], trust: &Trust) -> Result<(), Failure> {
    let named = |name: &str| plans.iter().map(|plan| &plan.settings).find(|settings| settings.name == name);
    let wanted = match server {
        Some(name) => named(name),
        None => plans.iter().map(|plan| &plan.settings).find(|settings| settings.default),
    };
    let mut to_check: Vec<&ServerSettings> = wanted.into_iter().collect();
    let mut at = 0;
    while let Some(settings) = to_check.get(at).copied() {
        for needed in settings.depends_on.iter().filter_map(|name| named(name)) {
            if !to_check.iter().any(|known| known.name == needed.name) {
                to_check.push(needed);
            }
        }
        at += 1;
    }
    to_check.retain(|settings| !is_trusted(plans, &settings.name));
    let files = Files::of_repo(repo);
    for server in to_check {
        check_trust(&files, server, trust).map_err(|untrusted| {
            let id = format!("{}/{}", repo.name, server.name);
            let what = if untrusted.was_approved {
                format!("the command of `{id}` changed since it was approved:\n{}", untrusted.difference.trim_end())
            } else {
                format!("the command of `{id}` is not approved:\n{}", untrusted.difference.trim_end())
            };
            Failure::new(Kind::NotTrusted, what)
                .hint(format!("`pierhead trust {}` shows it and approves it", repo.name))
        })?;
    }
    Ok(())
}

fn is_trusted(plans: &[Plan], name: &str) -> bool {
    plans.iter().any(|plan| plan.settings.name == name && plan.trusted)
}

/// A snapshot, then every change. A listener that falls too far behind gets a new snapshot.
async fn events(State(Desk { post, .. }): State<Desk>) -> Response {
    let subscribed = tell(&post, Message::Subscribe).await;
    let (snapshot, changes) = match subscribed {
        Ok(subscribed) => subscribed,
        Err(failure) => return refuse(&failure),
    };
    let stream = Lines { post, changes, first: Some(snapshot) };
    let stream = futures(stream);
    Sse::new(stream).keep_alive(KeepAlive::new().interval(Duration::from_mins(1))).into_response()
}

struct Lines {
    post: Post,
    changes: broadcast::Receiver<Arc<str>>,
    first: Option<Known>,
}

impl Lines {
    async fn next(&mut self) -> Option<String> {
        if let Some(Known { servers, offers, .. }) = self.first.take() {
            return serde_json::to_string(&Line::Snapshot { servers, offers }).ok();
        }
        match self.changes.recv().await {
            Ok(line) => Some(line.to_string()),
            Err(broadcast::error::RecvError::Closed) => None,
            Err(broadcast::error::RecvError::Lagged(_)) => {
                let (Known { servers, offers, .. }, changes) = tell(&self.post, Message::Subscribe).await.ok()?;
                self.changes = changes;
                serde_json::to_string(&Line::Snapshot { servers, offers }).ok()
            }
        }
    }
}

fn futures(lines: Lines) -> impl futures_util::Stream<Item = Result<SseEvent, Infallible>> {
    futures_util::stream::unfold(lines, async |mut lines| {
        let text = lines.next().await?;
        Some((Ok(SseEvent::default().data(text)), lines))
    })
}
