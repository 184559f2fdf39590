//! Statements that run often find their rows, however many entries there are.

use serde_json::Value;
use testkit::sql::Sessions;

use super::super::local::schema::live;
use super::super::postgres::LEASES_AND_END;
use super::*;
use crate::postgres::Json;

/// How SQLite would carry out a statement, one line per step.
fn plan(connection: &Connection, statement: &str) -> Vec<String> {
    let mut plan = connection.prepare(&format!("EXPLAIN QUERY PLAN {statement}")).unwrap();
    let nothing = vec![0; plan.parameter_count()];
    plan.query_map(rusqlite::params_from_iter(nothing), |row| row.get(3)).unwrap().map(Result::unwrap).collect()
}

#[test]
fn live_entries_are_found_by_an_index_in_the_order_that_is_asked_for() {
    let fixture = Fixture::new();
    let connection = Connection::open(fixture.file()).unwrap();
    let cases = [
        (live::DUE, "SEARCH entries USING INDEX entries_due (state=? AND due_at<?)"),
        (live::RETURN_LEASED, "SEARCH entries USING COVERING INDEX entries_due (state=? AND due_at<?)"),
        (live::DUE_NO_LATER, "SEARCH entries USING INDEX entries_due (state=? AND due_at>?)"),
        (live::NEXT_DUE, "SEARCH entries USING COVERING INDEX entries_due (state=?)"),
        // In the order of the index, up to the first that fits.
        (live::OLDEST, "SCAN entries USING INDEX entries_live"),
        (live::OLDEST_UNATTENDED, "SCAN entries USING INDEX entries_live"),
    ];
    for (statement, expected) in cases {
        let plan = plan(&connection, statement);
        assert_eq!(plan[0], expected, "{statement}");
        assert!(!plan.iter().any(|step| step.contains("ORDER BY")), "it sorts: {plan:?}");
    }
}

/// Rows that the steps of a plan that read or join the table `work` handed on, in all of their runs.
fn rows_handed_on(step: &Value) -> f64 {
    let number = |name| step[name].as_f64().unwrap_or(0.0);
    let below: f64 = step["Plans"].as_array().map_or(0.0, |steps| steps.iter().map(rows_handed_on).sum());
    let is_of_work = step["Relation Name"].as_str().is_none_or(|name| name == "work");
    let rows = (number("Actual Rows") + number("Rows Removed by Join Filter")) * number("Actual Loops");
    if is_of_work && step["Node Type"] != "Hash" { below + rows } else { below }
}

/// Runs a statement with these values, and returns how many rows it handled.
async fn handled(sessions: &Sessions, statement: &str, values: &[&str]) -> f64 {
    let places = values.iter().enumerate().rev();
    let statement =
        places.fold(statement.to_owned(), |text, (place, value)| text.replace(&format!("${}", place + 1), value));
    let Json(explained): Json<Value> =
        sessions.value(&format!("EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) {statement}")).await.expect("it runs");
    rows_handed_on(&explained[0]["Plan"])
}

/// The server learns of a burst after a quiet time only a minute later.
#[tokio::test]
async fn a_burst_after_a_quiet_time_is_leased_and_ended_by_looking_up_each_id() {
    const BURST: u32 = 3000;
    let fixture = Fixture::postgres().await;
    let sessions = fixture.database.as_ref().unwrap().sessions();
    let fill = |from: u32| {
        format!(
            "INSERT INTO gateway_inbox.entries (id, endpoint, event_id, event_type, source, secret, received_at)
                 SELECT n, 'stripe', 'evt_' || n, 'x', 'webhook', 'x', n FROM generate_series({from}, {from} + {BURST}) n;
             INSERT INTO gateway_inbox.work (id, state, due_at, size)
                 SELECT n, 0, n, 1 FROM generate_series({from}, {from} + {BURST}) n"
        )
    };
    sessions.execute("ALTER TABLE gateway_inbox.work SET (autovacuum_enabled = off)").await.unwrap();
    sessions.execute(fill(1)).await.unwrap();
    sessions.execute(format!("DELETE FROM gateway_inbox.work WHERE id <= {BURST}")).await.unwrap();
    sessions.execute("VACUUM ANALYZE gateway_inbox.work").await.unwrap();
    sessions.execute(fill(10_000)).await.unwrap();

    let [lease_all, lease, end] = LEASES_AND_END;
    let rows = handled(&sessions, lease, &["999999", "100", "1000", "7", "1000", "0"]).await;
    assert!(rows < 60_000.0, "a lease of 100 handled {rows} rows");
    sessions.execute("UPDATE gateway_inbox.work SET state = 0, token = NULL, due_at = 1").await.unwrap();
    let rows = handled(&sessions, lease_all, &["999999", "100", "1000", "7", "1000", "0", "1000"]).await;
    assert!(rows < 60_000.0, "a lease of all that is due handled {rows} rows");
    let leased =
        "SELECT concat('''', array_agg(id ORDER BY id), '''::bigint[]') FROM gateway_inbox.work WHERE token = 7";
    let ids: String = sessions.value(leased).await.unwrap();
    let of_each = |value: &str| format!("ARRAY(SELECT {value} FROM generate_series(1, 100))");
    let (tokens, states, texts) = (of_each("7::bigint"), of_each("3::smallint"), of_each("'applied'::text"));
    let rows = handled(&sessions, end, &["999999", &ids, &tokens, "NULL", &states, &texts, &texts]).await;
    assert!(rows < 60_000.0, "the end of 100 handled {rows} rows");
    assert_eq!(sessions.value::<i64>("SELECT count(*) FROM gateway_inbox.ended").await.unwrap(), 100);
}

/// Of a table that it never counted, the server believes that nearly nothing is due, and sorts all that is due for each lease.
#[tokio::test]
async fn a_lease_of_many_has_the_server_count_the_rows_of_a_new_inbox() {
    const BURST: u32 = 3000;
    let fixture = Fixture::postgres().await;
    let sessions = fixture.database.as_ref().unwrap().sessions();
    let fill = format!(
        "INSERT INTO gateway_inbox.entries (id, endpoint, event_id, event_type, source, secret, received_at)
             SELECT n, 'stripe', 'evt_' || n, 'x', 'webhook', 'x', n FROM generate_series(1, {BURST}) n;
         INSERT INTO gateway_inbox.work (id, state, due_at, size)
             SELECT n, 0, n, 1 FROM generate_series(1, {BURST}) n"
    );
    sessions.execute("ALTER TABLE gateway_inbox.work SET (autovacuum_enabled = off)").await.unwrap();
    sessions.execute(fill).await.unwrap();
    let lease =
        async || handled(&sessions, LEASES_AND_END[0], &["999999", "10", "1000", "7", "1000", "0", "1000"]).await;
    let before = lease().await;
    assert!(before > f64::from(BURST), "the server knows the table already: {before} rows");
    assert_eq!(fixture.lease(100).await.len(), 100);
    let after = lease().await;
    assert!(after < 1000.0, "a lease of 10 handled {after} rows");
}
