//! Discovery: where each server is, over TCP on this machine's own addresses, to be read and no more.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;
use tokio::sync::Mutex;
use tokio::sync::mpsc::UnboundedSender;

use super::admission::{Provenance, Refusal, admit};
use super::connections::{Connections, Limits, refuse};
use super::http::tell;
use super::message::Message;
use crate::api::{Failure, Kind, VERSION};
use crate::model::{Exit, ServerId, State as Doing, Status, Timestamp};
use crate::os::{ports, sockets};

/// How often a port that was taken is tried again while nobody asks for it.
const TRY_AGAIN: Duration = Duration::from_secs(30);
/// How long the search for a taken port's holder may hold up whoever asks for it.
const HOLDER_PATIENCE: Duration = Duration::from_secs(1);
const LIMITS: Limits = Limits {
    connections: 64,
    header_bytes: 16 << 10,
    body_bytes: 16 << 10,
    patience: Duration::from_secs(10),
    keep_alive: false,
};

/// The two addresses that are listened on, or will be.
#[derive(Debug, Clone)]
pub(super) struct Discovery {
    connections: Connections,
    doors: Arc<Mutex<[Door; 2]>>,
}

#[derive(Debug)]
struct Door {
    address: SocketAddr,
    is_settled: bool,
    problem: Option<String>,
}

impl Discovery {
    /// Listens on the desk's port, and tries again for as long as it is somebody else's.
    pub(super) fn begin(desk: Desk) -> Self {
        let door = |ip: IpAddr| Door { address: (ip, desk.port).into(), is_settled: false, problem: None };
        let doors = [door(Ipv4Addr::LOCALHOST.into()), door(Ipv6Addr::LOCALHOST.into())];
        let discovery =
            Self { connections: Connections::new(router(desk), LIMITS), doors: Arc::new(Mutex::new(doors)) };
        let trying = discovery.clone();
        tokio::spawn(async move {
            while !trying.problems().await.is_empty() {
                tokio::time::sleep(TRY_AGAIN).await;
            }
        });
        discovery
    }

    /// Tries what has not worked so far; gives what still does not, a sentence each.
    pub(super) async fn problems(&self) -> Vec<String> {
        let mut doors = self.doors.lock().await;
        for door in doors.iter_mut().filter(|door| !door.is_settled) {
            door.open(&self.connections).await;
        }
        doors.iter().filter_map(|door| door.problem.clone()).collect()
    }
}

impl Door {
    async fn open(&mut self, connections: &Connections) {
        let listener = match ports::listen(self.address) {
            Ok(listener) => listener.map(tokio::net::TcpListener::from_std).transpose(),
            Err(error) => Err(error),
        };
        match listener {
            Ok(listener) => {
                self.is_settled = true;
                if self.problem.take().is_some() {
                    tracing::info!("discovery: {} is free now", self.address);
                }
                if let Some(listener) = listener {
                    tokio::spawn(accept(listener, connections.clone()));
                }
            }
            Err(error) => {
                let why = match error.kind() {
                    std::io::ErrorKind::AddrInUse => format!("the port is taken by {}", holder(self.address).await),
                    _ => error.to_string(),
                };
                let problem = format!(
                    "discovery does not answer at {}: {why}; `discovery_port` in config.toml sets another port",
                    self.address
                );
                if self.problem.as_ref() != Some(&problem) {
                    tracing::warn!("{problem}");
                }
                self.problem = Some(problem);
            }
        }
    }
}

/// Who listens at an address, in words.
async fn holder(address: SocketAddr) -> String {
    let found = tokio::task::spawn_blocking(move || {
        // A wildcard takes the port from both families: one that is told as 0.0.0.0 may be of both.
        let is_in_the_way = |ip: IpAddr| ip == address.ip() || ip.is_unspecified();
        let on_port = sockets::listening_on(address.port()).ok()?;
        on_port.iter().filter(|socket| is_in_the_way(socket.address)).find_map(sockets::holder_of)
    });
    // The threads for it may all be waiting for a stalled file system.
    match tokio::time::timeout(HOLDER_PATIENCE, found).await {
        Ok(Ok(Some((pid, command)))) => format!("`{command}` (pid {pid})"),
        _ => "a process that cannot be seen".to_owned(),
    }
}

async fn accept(listener: tokio::net::TcpListener, connections: Connections) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => connections.take(stream),
            Err(error) => {
                tracing::warn!("a connection for discovery was not taken: {error}");
                // At the limit of open files this would spin.
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

// ---- what is answered

/// What every answer may need.
#[derive(Debug, Clone)]
pub(super) struct Desk {
    pub(super) post: UnboundedSender<Message>,
    pub(super) port: u16,
}

fn router(desk: Desk) -> Router {
    Router::new()
        .route("/discover", get(all))
        .route("/discover/{repo}", get(async |desk, Path(repo): Path<String>| one(desk, &repo, None).await))
        .route(
            "/discover/{repo}/{server}",
            get(async |desk, Path((repo, server)): Path<(String, String)>| one(desk, &repo, Some(&server)).await),
        )
        .method_not_allowed_fallback(async || {
            refuse(StatusCode::METHOD_NOT_ALLOWED, &Failure::new(Kind::Usage, "discovery is for reading: GET or HEAD"))
        })
        .fallback(async || refuse(StatusCode::NOT_FOUND, &Failure::new(Kind::Usage, "there is no such path")))
        .layer(middleware::from_fn_with_state(desk.port, guard))
        .with_state(desk)
}

/// Refuses whoever may not ask, and sends with every answer what keeps pages of other origins from using it.
async fn guard(State(port): State<u16>, request: Request, next: Next) -> Response {
    let admitted = admit_request(port, &request);
    let asked = tracing::enabled!(tracing::Level::DEBUG).then(|| (request.method().clone(), request.uri().to_string()));
    let mut response = match admitted {
        Ok(()) => next.run(request).await,
        Err(refusal) => {
            let status = StatusCode::from_u16(refusal.status()).unwrap_or(StatusCode::FORBIDDEN);
            refuse(status, &Failure::new(Kind::Usage, refusal.to_string()))
        }
    };
    if let Some((method, target)) = asked {
        // Quoted: whoever asks writes it.
        tracing::debug!("discovery: {method} {target:?} {}", response.status().as_u16());
    }
    response.headers_mut().extend(HeaderMap::from_iter([
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("same-origin")),
    ]));
    response
}

fn admit_request(port: u16, request: &Request) -> Result<(), Refusal> {
    let all = |name: HeaderName| request.headers().get_all(name).iter().map(HeaderValue::as_bytes).collect();
    let provenance = Provenance {
        names_authority: request.uri().authority().is_some(),
        host: all(header::HOST),
        origin: all(header::ORIGIN),
        sec_fetch_site: all(HeaderName::from_static("sec-fetch-site")),
    };
    admit(port, &provenance)
}

#[derive(Debug, Serialize)]
struct Directory {
    version: u32,
    servers: Vec<Whereabouts>,
}

/// Where a server is: what its port file says, and nothing of the user's folders and commands.
#[derive(Debug, Serialize)]
struct Whereabouts {
    repo: String,
    server: String,
    state: Doing,
    host: Option<String>,
    port: Option<u16>,
    url: Option<String>,
    pid: Option<u32>,
    /// When it became ready.
    started_at: Option<Timestamp>,
}

impl From<Status> for Whereabouts {
    fn from(status: Status) -> Self {
        let started_at = status.since.filter(|_| status.state == Doing::Ready);
        let Status { repo, server, state, host, port, url, pid, .. } = status;
        Self { repo, server, state, host, port, url, pid, started_at }
    }
}

/// Registered, and not to be reached now.
#[derive(Debug, Serialize)]
struct NotReady {
    #[serde(flatten)]
    failure: Failure,
    repo: String,
    server: String,
    state: Doing,
    reason: String,
}

async fn all(State(desk): State<Desk>) -> Response {
    match tell(&desk.post, Message::List).await.map(|known| known.servers) {
        Ok(servers) => {
            let servers = servers.into_iter().map(Whereabouts::from).collect();
            Json(Directory { version: VERSION, servers }).into_response()
        }
        Err(failure) => refuse(StatusCode::SERVICE_UNAVAILABLE, &failure),
    }
}

async fn one(State(desk): State<Desk>, repo: &str, server: Option<&str>) -> Response {
    let servers = match tell(&desk.post, Message::List).await.map(|known| known.servers) {
        Ok(servers) => servers,
        Err(failure) => return refuse(StatusCode::SERVICE_UNAVAILABLE, &failure),
    };
    let is_meant = |status: &Status| status.repo == repo && server.map_or(status.default, |name| status.server == name);
    match servers.into_iter().find(is_meant) {
        None => refuse(StatusCode::NOT_FOUND, &unknown(repo, server)),
        Some(status) if status.state == Doing::Ready && status.url.is_some() => {
            Json(Whereabouts::from(status)).into_response()
        }
        Some(status) => (StatusCode::CONFLICT, Json(not_ready(status))).into_response(),
    }
}

/// Repeats a name only if it could be one.
fn unknown(repo: &str, server: Option<&str>) -> Failure {
    let name = server.map_or_else(|| repo.to_owned(), |server| format!("{repo}/{server}"));
    match format!("{repo}/{}", server.unwrap_or("server")).parse::<ServerId>() {
        Ok(_) => Failure::not_registered(&name),
        Err(_) => Failure::new(Kind::NotRegistered, "nothing can be registered under such a name"),
    }
}

fn not_ready(status: Status) -> NotReady {
    let reason = reason_of(&status);
    let id = status.id();
    let failure = Failure::new(Kind::NothingRunning, format!("`{id}` is not ready: {reason}"))
        .hint(format!("`pierhead status {id}` says more; `pierhead up {id}` starts it"));
    let Status { repo, server, state, .. } = status;
    NotReady { failure, repo, server, state, reason }
}

/// Made of what is known for certain and not of [`Status::reason`], which may name commands and folders.
fn reason_of(status: &Status) -> String {
    let ended = || if status.exit == Exit::default() { None } else { Some(format!("it ended with {}", status.exit)) };
    match status.state {
        Doing::Stopped => "it is stopped".to_owned(),
        Doing::Starting => "it is starting".to_owned(),
        Doing::Ready => "it has no address now".to_owned(),
        Doing::NotServing => "it is alive and does not listen".to_owned(),
        Doing::Unhealthy => "it listens, and its health check fails".to_owned(),
        Doing::Stopping => "it is being stopped".to_owned(),
        Doing::Waiting => {
            let next = status.next_try.map_or_else(String::new, |next| format!(" at {next}"));
            format!("{}, and will be started again{next}", ended().unwrap_or_else(|| "it could not start".to_owned()))
        }
        Doing::Failed => ended().unwrap_or_else(|| "it could not be started".to_owned()),
    }
}
