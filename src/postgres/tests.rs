//! Faults as they come over the wire, and what becomes of connections.

use testkit::postgres::{Database, Flavour};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::Type;

use super::*;

fn address(url: &str) -> Address {
    Address::read(url).unwrap()
}

/// A server's message of this kind.
fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).unwrap().to_be_bytes();
    [&[kind], &length[..], body].concat()
}

/// The class of the error when connecting to a server that answers the first message with this and disconnects.
async fn class(query: &str, answer: Vec<u8>) -> (Class, String) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut server = JoinSet::new();
    server.spawn(async move {
        let (mut client, _) = listener.accept().await.unwrap();
        let mut length = [0; 4];
        client.read_exact(&mut length).await.unwrap();
        let mut greeting = vec![0; usize::try_from(u32::from_be_bytes(length)).unwrap() - 4];
        client.read_exact(&mut greeting).await.unwrap();
        client.write_all(&answer).await.unwrap();
        client.shutdown().await.unwrap();
        // Disconnects after the client, so that the client reads what was written.
        drop(client.read_to_end(&mut Vec::new()).await);
    });
    let url = format!("postgres://u@127.0.0.1:{port}/x?sslmode={query}");
    match Link::open(&address(&url)).await.unwrap_err() {
        ConnectError::Driver(error) => (class_of(&error), chain(&error)),
        ConnectError::Tls(error) => panic!("{error}"),
    }
}

#[tokio::test]
async fn connections_to_a_server_that_takes_no_writes_any_more_are_not_used_again() {
    let database = Database::create(Flavour::Plain).await;
    let pool = Pool::new(address(&database.url()), 2).unwrap();
    let (one, other) = (pool.place().await.unwrap(), pool.place().await.unwrap());
    let (mut link, spare) = (one.connect().await.unwrap(), other.connect().await.unwrap());
    other.keep(spare);
    link.run_all("SET default_transaction_read_only = on").await.unwrap();
    let refused = link.run("CREATE TABLE x ()", &[]).await.unwrap_err();
    assert_eq!(refused.code().map(SqlState::code), Some("25006"));
    one.keep(link);
    assert!(one.idle().await.is_none(), "a new connection may lead to the server that took its place");
}

#[tokio::test]
async fn each_fault_of_connecting_is_told_from_the_others() {
    let refusal = message(b'E', b"SFATAL\0VFATAL\0C28P01\0Mno\0\0");
    for (query, answer, expected) in [
        ("disable", Vec::new(), Class::Broken),
        ("disable", refusal, Class::Refused),
        ("require", b"N".to_vec(), Class::Tls),
        ("require", b"Sno TLS at all".to_vec(), Class::Tls),
        ("disable", message(b'R', &3_u32.to_be_bytes()), Class::Login),
        ("disable", message(b'R', &2_u32.to_be_bytes()), Class::Login),
        ("disable", message(b'Z', b"I"), Class::Unreadable),
    ] {
        let (class, said) = class(query, answer).await;
        assert_eq!(class, expected, "{query}: {said}");
    }
    let port = TcpListener::bind(("127.0.0.1", 0)).await.unwrap().local_addr().unwrap().port();
    let refused = Link::open(&address(&format!("postgres://u@127.0.0.1:{port}/x"))).await.unwrap_err();
    assert!(matches!(refused, ConnectError::Driver(error) if class_of(&error) == Class::Broken));
}

#[tokio::test]
async fn faults_of_a_statement_are_told_from_each_other_and_leave_the_connection_as_it_was() {
    let database = Database::create(Flavour::Plain).await;
    let mut link = Link::open(&address(&database.url())).await.unwrap();
    let wrong = link.rows("SELECT 1 / 0").await.unwrap_err();
    assert_eq!((class_of(&wrong), wrong.code().unwrap().code()), (Class::Refused, "22012"));
    let rows = link.rows("SELECT 1").await.unwrap();
    assert_eq!(class_of(&rows[0].try_get::<_, &str>(0).unwrap_err()), Class::Unreadable);
    assert_eq!(class_of(&rows[0].try_get::<_, i32>("none").unwrap_err()), Class::Unreadable);
    let Json(answer): Json<Vec<u8>> = link.rows("SELECT '[1, 2]'::jsonb").await.unwrap()[0].get(0);
    assert_eq!(answer, [1, 2]);
    assert!(link.is_usable().await);
    let odd = link.run("SELECT $1", &[(&1_i32, Type::TEXT)]).await.unwrap_err();
    assert_eq!(class_of(&odd), Class::Unsendable);
}

#[tokio::test]
async fn warnings_of_the_server_are_seen_and_those_of_functions_are_none() {
    let database = Database::create(Flavour::Plain).await;
    let mut link = Link::open(&address(&database.url())).await.unwrap();
    database
        .run("CREATE FUNCTION say() RETURNS void LANGUAGE plpgsql AS $$ BEGIN RAISE WARNING 'x'; RAISE NOTICE 'x'; END $$")
        .await;
    // There is no such process, and the server warns of that.
    for (statement, has_warned) in [("SELECT pg_cancel_backend(2147483647)", true), ("SELECT say()", false)] {
        let answer = link.run(statement, &[]).await.unwrap();
        assert_eq!(answer.has_warned, has_warned, "{statement}");
    }
}

/// Whether a statement counts as warned of, to which the server answers with this warning.
async fn warned(by: &str) -> bool {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut server = JoinSet::new();
    let warning = format!("SWARNING\0VWARNING\0C01000\0Mx\0R{by}\0\0");
    let done = [message(b'1', b""), message(b'2', b""), message(b'N', warning.as_bytes()), message(b'n', b"")];
    let done = [done.concat(), message(b'C', b"SELECT 0\0"), message(b'Z', b"I")].concat();
    server.spawn(async move {
        let (mut client, _) = listener.accept().await.unwrap();
        // What is asked is known.
        assert!(client.read(&mut [0; 4096]).await.unwrap() > 0);
        client.write_all(&[message(b'R', &0_u32.to_be_bytes()), message(b'Z', b"I")].concat()).await.unwrap();
        assert!(client.read(&mut [0; 4096]).await.unwrap() > 0);
        client.write_all(&done).await.unwrap();
        drop(client.read_to_end(&mut Vec::new()).await);
    });
    let mut link = Link::open(&address(&format!("postgres://u@127.0.0.1:{port}/x?sslmode=disable"))).await.unwrap();
    link.run("SELECT", &[]).await.unwrap().has_warned
}

/// A server says so at every write, for the last forty million of them.
#[tokio::test]
async fn a_server_that_is_short_of_transaction_numbers_commits_as_durably_as_ever() {
    for (by, is_doubt) in [("SyncRepWaitForLSN", true), ("GetNewTransactionId", false), ("GetNewMultiXactId", false)] {
        assert_eq!(warned(by).await, is_doubt, "{by}");
    }
}

async fn process(link: &mut Link) -> i32 {
    link.rows("SELECT pg_backend_pid()").await.unwrap()[0].get(0)
}

#[tokio::test]
async fn a_connection_that_the_server_ended_meanwhile_is_replaced_unseen() {
    let database = Database::create(Flavour::Plain).await;
    let pool = Pool::new(address(&database.url()), 1).unwrap();
    let place = pool.place().await.unwrap();
    let mut link = place.link().await.unwrap();
    let first = process(&mut link).await;
    place.keep(link);
    let mut link = place.link().await.unwrap();
    assert_eq!(process(&mut link).await, first, "it is kept");
    place.keep(link);
    // Its last message is sent before it leaves the list of processes.
    let mut other = Link::open(&address(&database.url())).await.unwrap();
    other.run("SELECT pg_terminate_backend($1)", &[(&first, Type::INT4)]).await.unwrap();
    let gone = "SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE pid = $1)";
    while !other.run(gone, &[(&first, Type::INT4)]).await.unwrap().rows[0].get::<_, bool>(0) {
        tokio::task::yield_now().await;
    }
    assert_ne!(process(&mut place.link().await.unwrap()).await, first);
}

#[tokio::test]
async fn a_call_that_is_given_up_takes_its_connection_along() {
    let database = Database::create(Flavour::Plain).await;
    let pool = Pool::new(address(&database.url()), 1).unwrap();
    let place = pool.place().await.unwrap();
    let mut link = place.link().await.unwrap();
    tokio::select! {
        biased;
        answer = link.rows("SELECT pg_sleep(3600)") => panic!("{answer:?}"),
        () = tokio::task::yield_now() => {}
    }
    assert!(!link.is_usable().await);
    place.keep(link);
    assert!(place.idle().await.is_none(), "what is read next would be another call's answer");
}

#[tokio::test]
async fn there_are_no_more_calls_at_once_than_places_and_none_after_the_end() {
    let pool = Pool::new(address("postgres://localhost/x"), 1).unwrap();
    let place = pool.place().await.unwrap();
    let mut next = std::pin::pin!(pool.place());
    assert!(std::future::poll_fn(|cx| std::task::Poll::Ready(next.as_mut().poll(cx))).await.is_pending());
    drop(place);
    drop(next.await.unwrap());
    pool.close().await;
    assert_eq!(pool.place().await.unwrap_err(), Closed);
}
