//! The tools that other tests are built with: they must see what is there, and not pass over what is not.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::DefaultBodyLimit;
use axum::http::StatusCode;
use axum::routing::{get, post};
use hyper::body::Frame;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use testkit::raw_http::{self, RawHttp, head};
use testkit::redis::Redis;

/// A body whose length is not known in advance.
struct Parts(Vec<&'static str>);

impl hyper::body::Body for Parts {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.pop().map(|part| Ok(Frame::data(Bytes::from_static(part.as_bytes())))))
    }
}

/// `POST /echo` returns the body, up to 1000 bytes. `GET /chunks` answers in chunks, `GET /empty` with 204.
async fn server() -> (SocketAddr, JoinSet<()>) {
    let echo = |body: Bytes| async move { (StatusCode::CREATED, [("X-Length", body.len().to_string())], body) };
    let app = Router::new()
        .route("/echo", post(echo))
        .route("/chunks", get(|| async { Body::new(Parts(vec!["three", "two ", "one "])) }))
        .route("/empty", get(|| async { StatusCode::NO_CONTENT }))
        .layer(DefaultBodyLimit::max(1000));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
    let address = listener.local_addr().expect("it is bound");
    let mut tasks = JoinSet::new();
    tasks.spawn(async move { axum::serve(listener, app).await.expect("the listener stays") });
    (address, tasks)
}

#[tokio::test]
async fn a_body_comes_back_however_it_is_cut() {
    let (address, _server) = server().await;
    let body = b"{\n  \"id\": \"evt_1\"\n}\r\n\r\n";
    for size in 1..=body.len() {
        let mut http = RawHttp::connect(address).await;
        assert!(http.send(&raw_http::post_chunked("/echo", &[("X-Any", "1")], body, size)).await);
        let answer = http.answer().await.expect("an answer");
        assert_eq!((answer.status, answer.body.as_slice()), (201, &body[..]), "chunks of {size}");
    }
    let mut http = RawHttp::connect(address).await;
    let request = raw_http::post("/echo", &[], body);
    assert_eq!(http.send_slowly(&request, 7, Duration::from_millis(1)).await, request.len());
    let answer = http.answer().await.expect("an answer");
    assert_eq!(answer.header("x-length"), Some(body.len().to_string().as_str()));
    assert_eq!(answer.text().as_bytes(), body);
}

#[tokio::test]
async fn pipelined_answers_are_told_apart() {
    let (address, _server) = server().await;
    let mut http = RawHttp::connect(address).await;
    let last = head("GET", "/empty", &[("Connection", "close")]);
    let requests = [
        raw_http::post("/echo", &[], b"first"),
        head("GET", "/chunks", &[]).into_bytes(),
        raw_http::post("/echo", &[], b"third"),
        last.into_bytes(),
    ];
    assert!(http.send(&requests.concat()).await);
    let mut answers = Vec::new();
    while let Some(answer) = http.answer().await {
        answers.push((answer.status, answer.text()));
    }
    let wanted = [(201, "first"), (200, "one two three"), (201, "third"), (204, "")];
    assert_eq!(answers, wanted.map(|(status, text)| (status, text.to_owned())));
}

#[tokio::test]
async fn refusals_and_closed_connections_are_seen() {
    let (address, _server) = server().await;
    let mut http = RawHttp::connect(address).await;
    http.send(&raw_http::post("/echo", &[], &[b'x'; 2000])).await;
    assert_eq!(http.answer().await.map(|answer| answer.status), Some(413));

    let mut http = RawHttp::connect(address).await;
    http.send(b"this is not HTTP\r\n\r\n").await;
    assert_eq!(http.answer().await.map(|answer| answer.status), Some(400));
    assert!(http.is_closed().await);

    let mut http = RawHttp::connect(address).await;
    http.send(head("POST", "/echo", &[("Content-Length", "10")]).as_bytes()).await;
    http.finish().await;
    assert_ne!(http.answer().await.map(|answer| answer.status), Some(201), "half a body was taken for a whole one");
}

#[test]
fn redis_answers_while_it_is_kept_and_not_afterwards() {
    let redis = Redis::start();
    let port = redis.port();
    assert_eq!(redis.url(), format!("redis://127.0.0.1:{port}"));
    drop(redis);
    assert!(std::net::TcpStream::connect(("127.0.0.1", port)).is_err(), "the server is still there");
    let again = Redis::start_on(port).expect("the port is free again");
    assert_eq!(again.port(), port);
}
