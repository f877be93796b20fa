//! Asks the daemon, and starts one.

mod own;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::api::{
    Adopt, Asked, DaemonStatus, Environment, Failure, Kind, Line, PROGRAM_VERSION, Servers, VERSION_HEADER, Verb,
};
use crate::os::{channel, session};
use crate::paths::Places;

pub use own::{OwnProgram, own_program};

/// Asks the daemon of this user, one connection a question.
#[derive(Debug, Clone)]
pub struct Client {
    socket: PathBuf,
    tell: fn(&Failure),
}

/// How long a daemon may take from its start to its first answer.
const START_LIMIT: Duration = Duration::from_secs(20);
/// A daemon that takes longer for a question of its own is not well. One that has just begun looks at every repo first.
const SILENCE: Duration = Duration::from_secs(8);
/// Between two looks whether it answers.
const START_LOOK: Duration = Duration::from_millis(2);

/// What the environment of a managed server says of it, and of nothing that it starts.
const OF_A_SERVER: [&str; 5] =
    ["PIERHEAD_RUN", "PIERHEAD_REPO", "PIERHEAD_SERVER", "PIERHEAD_PORT_FILE", "PM_CONFIG_DIR"];

impl Client {
    /// A client of the daemon in these places.
    pub fn new(places: &Places) -> Self {
        Self { socket: places.socket(), tell: |_| {} }
    }

    /// The same, with somebody to tell when the daemon that answers is of another version. That is no failure as long
    /// as both understand what is said.
    #[must_use]
    pub fn telling(self, tell: fn(&Failure)) -> Self {
        Self { tell, ..self }
    }

    /// The socket it asks at.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// The daemon itself.
    pub async fn daemon(&self) -> Result<DaemonStatus, Failure> {
        self.soon(self.call(Method::GET, "/v1/daemon", &())).await
    }

    /// Every server.
    pub async fn servers(&self) -> Result<Servers, Failure> {
        self.soon(self.call(Method::GET, "/v1/servers", &())).await
    }

    /// Those of one repo.
    pub async fn servers_of(&self, repo: &str) -> Result<Servers, Failure> {
        self.soon(self.call(Method::GET, &format!("/v1/servers?repo={repo}"), &())).await
    }

    /// What a repo's servers begin with, as it is known.
    pub async fn environment(&self, repo: &str) -> Result<Environment, Failure> {
        self.soon(self.call(Method::GET, &format!("/v1/environment?repo={repo}"), &())).await
    }

    /// Has the login shell asked again; takes as long as that shell, or the user's limit.
    pub async fn environment_anew(&self, repo: &str) -> Result<Environment, Failure> {
        self.call(Method::POST, &format!("/v1/environment?repo={repo}"), &()).await
    }

    /// Asks something of servers; the answer may take as long as they do. A daemon that does not answer anything else
    /// meanwhile is no longer waited for.
    pub async fn ask(&self, verb: Verb, request: &crate::api::Request) -> Result<Asked, Failure> {
        let path = format!("/v1/{}", verb.word());
        let mut answer = std::pin::pin!(self.call(Method::POST, &path, request));
        loop {
            if let Ok(answer) = tokio::time::timeout(SILENCE, &mut answer).await {
                return answer;
            }
            match self.daemon().await {
                Err(failure) if failure.kind == Kind::TimedOut => return Err(failure),
                _ => {}
            }
        }
    }

    /// What takes a daemon that is well a millisecond.
    async fn soon<T>(&self, answer: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
        tokio::time::timeout(SILENCE, answer).await.unwrap_or_else(|_| {
            let what = format!("the daemon at `{}` does not answer within {} s", self.socket.display(), SILENCE.as_secs());
            Err(Failure::new(Kind::TimedOut, what)
                .hint("it hangs or was stopped; servers live on when its process is killed, and the next command starts another"))
        })
    }

    /// Watches a server that somebody else started under a name, or no more.
    pub async fn adopt(&self, adopt: &Adopt) -> Result<Asked, Failure> {
        self.call(Method::POST, "/v1/adopt", adopt).await
    }

    /// Makes the daemon read registry and approvals again.
    pub async fn reload(&self) -> Result<(), Failure> {
        self.call(Method::POST, "/v1/reload", &()).await
    }

    /// Makes the daemon judge every port file now.
    pub async fn reap(&self) -> Result<Servers, Failure> {
        self.call(Method::POST, "/v1/reap", &()).await
    }

    /// Ends the daemon; servers live on.
    pub async fn shutdown(&self) -> Result<(), Failure> {
        self.call(Method::POST, "/v1/shutdown", &()).await
    }

    /// Subscribes to changes; the first line is a snapshot.
    pub async fn events(&self) -> Result<Events, Failure> {
        let response = self.send(Method::GET, "/v1/events", Bytes::new()).await?;
        Ok(Events { body: response.into_body(), buffer: Vec::new() })
    }

    /// True when a daemon answers.
    pub async fn is_running(&self) -> bool {
        channel::connect(&self.socket).await.is_ok()
    }

    /// Starts a daemon unless one runs, and waits until one answers.
    pub async fn start(&self, program: &Path, log: &Path) -> Result<(), Failure> {
        if self.is_running().await {
            return Ok(());
        }
        let failed = |why: String| {
            Failure::new(Kind::DaemonUnreachable, format!("the daemon could not be started: {why}"))
                .hint(format!("its log is `{}`; `pierhead daemon run` shows what it says", log.display()))
        };
        let mut command = Command::new(program);
        command.args(["daemon", "run", "--detach"]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        // No folder of anybody's is kept busy by it.
        #[cfg(unix)]
        command.current_dir("/");
        // A command of a server that starts it does not make it a part of that server.
        for name in OF_A_SERVER {
            command.env_remove(name);
        }
        session::detach(&mut command);
        let mut child = command.spawn().map_err(|error| failed(error.to_string()))?;
        let begun = Instant::now();
        let mut look = tokio::time::interval(START_LOOK);
        // Of several that are started at once one gets the lock: whichever it is will answer.
        while !self.is_running().await {
            let has_ended = child.try_wait().is_ok_and(|status| status.is_some());
            if begun.elapsed() > START_LIMIT || (has_ended && begun.elapsed() > Duration::from_secs(5)) {
                return Err(failed("it does not answer".to_owned()));
            }
            look.tick().await;
        }
        Ok(())
    }

    async fn call<T: DeserializeOwned>(&self, method: Method, path: &str, body: &impl Serialize) -> Result<T, Failure> {
        let body = if method == Method::GET { Vec::new() } else { serde_json::to_vec(body).map_err(broken)? };
        let response = self.send(method, path, body.into()).await?;
        let is_success = response.status().is_success();
        let version = version_of(&response);
        let bytes = response.into_body().collect().await.map_err(broken)?.to_bytes();
        if is_success {
            return serde_json::from_slice(&bytes)
                .map_err(|error| mismatch(version.as_deref(), Some(&error.to_string())));
        }
        match serde_json::from_slice::<Failure>(&bytes) {
            Ok(failure) if failure.kind == Kind::Usage && version.as_deref() != Some(PROGRAM_VERSION) => {
                Err(mismatch(version.as_deref(), Some(&failure.message)))
            }
            Ok(failure) => Err(failure),
            Err(_) => Err(mismatch(version.as_deref(), Some(&String::from_utf8_lossy(&bytes)))),
        }
    }

    async fn send(&self, method: Method, path: &str, body: Bytes) -> Result<Response<Incoming>, Failure> {
        let stream = channel::connect(&self.socket).await.map_err(|error| {
            Failure::new(Kind::DaemonUnreachable, format!("no daemon answers at `{}`: {error}", self.socket.display()))
                .hint("`pierhead daemon start` starts one")
        })?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
        tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "pierhead")
            .header("content-type", "application/json")
            .header(VERSION_HEADER, PROGRAM_VERSION)
            .body(Full::new(body))
            .map_err(broken)?;
        let response = sender.send_request(request).await.map_err(broken)?;
        let version = version_of(&response);
        if version.as_deref() != Some(PROGRAM_VERSION) {
            (self.tell)(&mismatch(version.as_deref(), None));
        }
        Ok(response)
    }
}

/// A stream of lines.
#[derive(Debug)]
pub struct Events {
    body: Incoming,
    buffer: Vec<u8>,
}

impl Events {
    /// The next line; `None` when the daemon has ended.
    pub async fn next(&mut self) -> Option<Line> {
        loop {
            while let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                let data = line.strip_prefix(b"data:").map(<[u8]>::trim_ascii);
                if let Some(line) = data.and_then(|data| serde_json::from_slice(data).ok()) {
                    return Some(line);
                }
            }
            let frame = self.body.frame().await?.ok()?;
            self.buffer.extend_from_slice(frame.data_ref()?);
        }
    }
}

/// Runs one question to its answer, on this thread.
pub fn block_on<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
}

fn broken(error: impl std::fmt::Display) -> Failure {
    Failure::new(Kind::DaemonUnreachable, format!("the daemon broke off: {error}"))
        .hint("`pierhead daemon status` shows whether it runs")
}

fn version_of(response: &Response<Incoming>) -> Option<String> {
    response.headers().get(VERSION_HEADER).and_then(|value| value.to_str().ok()).map(str::to_owned)
}

fn mismatch(daemon: Option<&str>, answered: Option<&str>) -> Failure {
    let daemon = daemon.unwrap_or("of no known version");
    let answered = answered.map(|what| format!("; it answered: {what}")).unwrap_or_default();
    let message = format!("this is pierhead {PROGRAM_VERSION} and the daemon is {daemon}{answered}");
    Failure::new(Kind::DaemonUnreachable, message)
        .hint("`pierhead daemon stop` ends the daemon, servers live on; the next command starts the new one")
}
