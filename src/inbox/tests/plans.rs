//! Statements that run often find their rows, however many entries there are.

use super::super::local::schema::live;
use super::*;

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
