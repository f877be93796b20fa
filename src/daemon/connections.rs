//! Connections, with limits that no client can stretch: of size, of time and of number.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, StatusCode};
use axum::response::Response;
use axum::{Json, Router};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Body as _, Bytes, Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Notify;

use crate::api::{Failure, Kind};

/// What one kind of listener allows.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// How many connections may be open. One more takes the place of the oldest on which no whole request has arrived;
    /// when all are at work, it is closed.
    pub(super) connections: usize,
    /// The most bytes of a request's line and headers.
    pub(super) header_bytes: usize,
    /// The most bytes of a request's body.
    pub(super) body_bytes: usize,
    /// How long headers may take from the connection's start or the last answer, and how long a body may take.
    pub(super) patience: Duration,
    /// False to close after each answer: nothing idles.
    pub(super) keep_alive: bool,
}

/// Answers on every connection it is given.
#[derive(Debug, Clone)]
pub(super) struct Connections {
    router: Router,
    limits: Limits,
    open: Arc<Mutex<Open>>,
}

#[derive(Debug, Default)]
struct Open {
    last: u64,
    seats: BTreeMap<u64, Arc<Seat>>,
}

/// One connection's place among those that are open.
#[derive(Debug)]
struct Seat {
    number: u64,
    /// True from a whole request's arrival until its answer is handed over, or as long as that streams.
    is_at_work: AtomicBool,
    leave: Notify,
}

impl Connections {
    pub(super) fn new(router: Router, limits: Limits) -> Self {
        Self { router, limits, open: Arc::default() }
    }

    /// Answers what comes over `stream` in a task of its own.
    pub(super) fn take(&self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
        let Some(seat) = lock(&self.open).enter(self.limits.connections) else {
            tracing::warn!("a connection was not taken: {} are at work", self.limits.connections);
            return;
        };
        let this = self.clone();
        tokio::spawn(async move {
            tokio::select! {
                // That a client goes or breaks the rules is its own affair.
                _ = this.converse(stream, &seat) => {}
                () = seat.leave.notified() => {}
            }
            lock(&this.open).seats.remove(&seat.number);
        });
    }

    async fn converse(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        seat: &Arc<Seat>,
    ) -> hyper::Result<()> {
        let service = service_fn(|request| async { Ok::<_, Infallible>(self.answer(request, seat).await) });
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.limits.patience)
            .max_header_size(self.limits.header_bytes)
            .keep_alive(self.limits.keep_alive)
            .serve_connection(TokioIo::new(stream), service)
            .await
    }

    async fn answer(&self, request: Request<Incoming>, seat: &Arc<Seat>) -> Response {
        let (head, body) = request.into_parts();
        let body = match self.read(body).await {
            Ok(bytes) => Body::from(bytes),
            Err((status, why)) => return refuse(status, &Failure::new(Kind::Usage, why)),
        };
        let work = Work::begin(seat);
        let service = TowerToHyperService::new(self.router.clone());
        let Ok(response) = service.call(Request::from_parts(head, body)).await;
        if response.body().size_hint().exact().is_some() {
            return response;
        }
        response.map(|body| Body::new(Streaming { body, _work: work }))
    }

    async fn read(&self, body: Incoming) -> Result<Bytes, (StatusCode, String)> {
        let most = self.limits.body_bytes;
        let collecting = pin!(Limited::new(body, most).collect());
        match tokio::time::timeout(self.limits.patience, collecting).await {
            Ok(Ok(collected)) => Ok(collected.to_bytes()),
            Ok(Err(error)) if error.is::<LengthLimitError>() => {
                Err((StatusCode::PAYLOAD_TOO_LARGE, format!("a body may have {most} bytes")))
            }
            Ok(Err(error)) => Err((StatusCode::BAD_REQUEST, error.to_string())),
            Err(_) => Err((StatusCode::REQUEST_TIMEOUT, "the body did not come in time".to_owned())),
        }
    }
}

/// A failure as an answer.
pub(super) fn refuse(status: StatusCode, failure: &Failure) -> Response {
    axum::response::IntoResponse::into_response((status, Json(failure)))
}

impl Open {
    fn enter(&mut self, most: usize) -> Option<Arc<Seat>> {
        if self.seats.len() >= most {
            let oldest = self.seats.values().find(|seat| !seat.is_at_work.load(Ordering::Relaxed)).cloned()?;
            self.seats.remove(&oldest.number);
            oldest.leave.notify_one();
        }
        self.last += 1;
        let seat = Seat { number: self.last, is_at_work: AtomicBool::new(false), leave: Notify::new() };
        let seat = Arc::new(seat);
        self.seats.insert(seat.number, Arc::clone(&seat));
        Some(seat)
    }
}

fn lock(open: &Mutex<Open>) -> MutexGuard<'_, Open> {
    // What is in it is whole after each of the few lines that change it.
    open.lock().unwrap_or_else(PoisonError::into_inner)
}

/// While it is there, its connection is not given up for another one.
#[derive(Debug)]
struct Work(Arc<Seat>);

impl Work {
    fn begin(seat: &Arc<Seat>) -> Self {
        seat.is_at_work.store(true, Ordering::Relaxed);
        Self(Arc::clone(seat))
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        self.0.is_at_work.store(false, Ordering::Relaxed);
    }
}

/// An answer that goes on for as long as somebody listens.
struct Streaming {
    body: Body,
    _work: Work,
}

impl hyper::body::Body for Streaming {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_more_takes_the_place_of_the_oldest_that_is_not_at_work() {
        let mut open = Open::default();
        let seats: Vec<_> = (0..3).map(|_| open.enter(3).unwrap()).collect();
        let work = Work::begin(&seats[0]);
        let fourth = open.enter(3).unwrap();
        assert_eq!(open.seats.keys().copied().collect::<Vec<_>>(), [1, 3, 4]);
        let works = [Work::begin(&seats[2]), Work::begin(&fourth)];
        assert!(open.enter(3).is_none(), "all are at work");
        drop((work, works));
        assert_eq!(open.enter(3).map(|seat| seat.number), Some(5));
    }
}
