//! A webhook endpoint on a free port of the loopback interface that behaves as told.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use colony_gateway::domain::clock::{Clock, Timestamp};
use colony_gateway::stripe::simulator::sign;
use hyper::body::Frame;
use reqwest::Url;
use tokio::net::TcpListener;
use tokio::sync::{Barrier, watch};
use tokio::task::JoinSet;

pub(crate) const SECRET: &str = "whsec_of_the_endpoint";

/// How the endpoint answers.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Manner {
    /// 200 to what is signed with [`SECRET`] within five minutes, 400 to the rest.
    Verify,
    /// Always this.
    Always(StatusCode),
    /// 503 to so many requests, with `Retry-After: 0`, then 200.
    BusyFirst(usize),
    /// 503 with a `Retry-After` of an hour.
    BusyForAnHour,
    /// Closes the connection on the first request, then 200.
    HangUpFirst,
    /// Never answers the first request, then 200.
    NeverAnswerFirst,
    /// Waits for so many requests and answers them together.
    AnswerInPackets(usize),
    /// 200 and a body that never ends.
    EndlessBody,
}

/// Stops when dropped.
pub(crate) struct Endpoint {
    port: u16,
    pub(crate) most_at_once: Arc<AtomicUsize>,
    answers: watch::Receiver<usize>,
    _server: JoinSet<()>,
}

struct Behaviour {
    manner: Manner,
    requests: AtomicUsize,
    at_once: AtomicUsize,
    most_at_once: Arc<AtomicUsize>,
    packet: Barrier,
    answers: watch::Sender<usize>,
}

impl Endpoint {
    pub(crate) async fn start(manner: Manner) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let most_at_once = Arc::new(AtomicUsize::new(0));
        let (sender, answers) = watch::channel(0);
        let behaviour = Arc::new(Behaviour {
            manner,
            requests: AtomicUsize::new(0),
            at_once: AtomicUsize::new(0),
            most_at_once: Arc::clone(&most_at_once),
            packet: Barrier::new(if let Manner::AnswerInPackets(size) = manner { size } else { 1 }),
            answers: sender,
        });
        let app = Router::new().fallback(answer).with_state(behaviour);
        let mut server = JoinSet::new();
        server.spawn(async move { axum::serve(listener, app).await.expect("the listener stays") });
        Self { port, most_at_once, answers, _server: server }
    }

    pub(crate) fn url(&self, path: &str) -> Url {
        Url::parse(&format!("http://127.0.0.1:{}{path}", self.port)).expect("a URL")
    }

    /// Waits until so many requests were answered.
    pub(crate) async fn answered(&self, count: usize) {
        self.answers.clone().wait_for(|answers| *answers >= count).await.expect("the server runs");
    }
}

async fn answer(State(behaviour): State<Arc<Behaviour>>, headers: HeaderMap, body: Bytes) -> Response {
    let number = behaviour.requests.fetch_add(1, Ordering::SeqCst);
    let at_once = behaviour.at_once.fetch_add(1, Ordering::SeqCst) + 1;
    behaviour.most_at_once.fetch_max(at_once, Ordering::SeqCst);
    let response = match behaviour.manner {
        Manner::Verify if is_signed(&headers, &body) => StatusCode::OK.into_response(),
        Manner::Verify => StatusCode::BAD_REQUEST.into_response(),
        Manner::Always(status) => (status, [("Location", "/elsewhere")]).into_response(),
        Manner::BusyFirst(count) if number < count => {
            (StatusCode::SERVICE_UNAVAILABLE, [("Retry-After", "0")]).into_response()
        }
        Manner::BusyForAnHour => (StatusCode::SERVICE_UNAVAILABLE, [("Retry-After", "3600")]).into_response(),
        Manner::HangUpFirst if number == 0 => Body::new(Frames { left: Some(1) }).into_response(),
        Manner::NeverAnswerFirst if number == 0 => std::future::pending().await,
        Manner::AnswerInPackets(_) => {
            behaviour.packet.wait().await;
            StatusCode::OK.into_response()
        }
        Manner::EndlessBody => Body::new(Frames { left: None }).into_response(),
        Manner::BusyFirst(_) | Manner::HangUpFirst | Manner::NeverAnswerFirst => StatusCode::OK.into_response(),
    };
    behaviour.at_once.fetch_sub(1, Ordering::SeqCst);
    behaviour.answers.send_modify(|answers| *answers += 1);
    response
}

/// Frames of 16 KiB without end, or one and then a failure, which closes the connection.
struct Frames {
    left: Option<usize>,
}

impl hyper::body::Body for Frames {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        Poll::Ready(Some(match &mut self.left {
            Some(0) => Err(std::io::Error::other("broken on purpose")),
            Some(left) => {
                *left -= 1;
                Ok(Frame::data(Bytes::from_static(&[b' '; 16 * 1024])))
            }
            None => Ok(Frame::data(Bytes::from_static(&[b' '; 16 * 1024]))),
        }))
    }
}

fn is_signed(headers: &HeaderMap, body: &[u8]) -> bool {
    let Some(header) = headers.get("Stripe-Signature").and_then(|value| value.to_str().ok()) else { return false };
    let Some(seconds) = header.split(',').find_map(|item| item.strip_prefix("t=")?.parse().ok()) else {
        return false;
    };
    let at = Timestamp::from_seconds(seconds);
    let age = Clock::system().now().since(at).as_secs();
    header == sign(SECRET, at, body) && age <= 300
}
