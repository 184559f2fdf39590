//! A file says its format: older ones are brought up to date when they are opened, and lose nothing.

use super::*;

/// Upgrades that a later release could have: for files of format 1 and of format 2.
const LATER: [&str; 2] = [
    "ALTER TABLE entries ADD COLUMN note TEXT; UPDATE entries SET note = 'was here';",
    "CREATE TABLE notes (entry INTEGER PRIMARY KEY, note TEXT NOT NULL);
     INSERT INTO notes (entry, note) SELECT id, note FROM entries;",
];

/// Names of tables and indexes with their columns, as a fresh file has them.
fn shape(file: &Path) -> Vec<(String, Vec<String>)> {
    let connection = Connection::open(file).unwrap();
    let mut names =
        connection.prepare("SELECT name FROM sqlite_schema WHERE name NOT LIKE 'sqlite_%' ORDER BY name").unwrap();
    let names: Vec<String> = names.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    let columns = |name: &String| -> Vec<String> {
        let table = format!(
            "SELECT name FROM pragma_table_info('{name}') UNION ALL SELECT name FROM pragma_index_info('{name}')"
        );
        connection.prepare(&table).unwrap().query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
    };
    names.into_iter().map(|name| (name.clone(), columns(&name))).collect()
}

fn format_of(file: &Path) -> i64 {
    Connection::open(file).unwrap().pragma_query_value(None, "user_version", |row| row.get(0)).unwrap()
}

/// The file of an inbox with one entry, closed in order.
async fn closed_file(directory: &Path) -> PathBuf {
    let (inbox, threads) = Inbox::open(&InboxOptions::new(directory), Clock::manual(START)).unwrap();
    inbox.append(entry("evt_1")).await.unwrap();
    drop(inbox);
    threads.join();
    directory.join("inbox.db")
}

#[tokio::test]
async fn a_new_file_has_the_format_that_the_upgrades_lead_to() {
    let fixture = Fixture::new();
    let reached = 1 + i64::try_from(schema::UPGRADES.len()).unwrap();
    assert_eq!((schema::FORMAT, format_of(&fixture.file())), (reached, reached));
    assert_eq!(crate::inbox::inspect(&fixture.file()).unwrap().format, schema::FORMAT);
}

#[tokio::test]
async fn a_file_of_an_older_format_goes_through_every_upgrade_after_it_and_keeps_its_entries() {
    let directory = tempfile::tempdir().unwrap();
    let file = closed_file(directory.path()).await;
    let connection = Connection::open(&file).unwrap();
    connection.pragma_update(None, "user_version", 1).unwrap();
    for _ in 0..2 {
        open::upgrade(&connection, format_of(&file), &LATER).unwrap();
        assert_eq!(format_of(&file), 3);
        let note: String = connection
            .query_row("SELECT n.note FROM notes n JOIN entries e ON e.id = n.entry", [], |row| row.get(0))
            .unwrap();
        assert_eq!(note, "was here");
    }
}

#[tokio::test]
async fn a_file_between_the_formats_goes_through_the_rest_alone() {
    let directory = tempfile::tempdir().unwrap();
    let file = closed_file(directory.path()).await;
    let connection = Connection::open(&file).unwrap();
    open::upgrade(&connection, 1, &LATER[..1]).unwrap();
    assert_eq!(format_of(&file), 2);
    connection.execute_batch("UPDATE entries SET note = 'changed since'").unwrap();
    open::upgrade(&connection, 2, &LATER).unwrap();
    let note: String = connection.query_row("SELECT note FROM notes", [], |row| row.get(0)).unwrap();
    assert_eq!((format_of(&file), note.as_str()), (3, "changed since"));
}

#[tokio::test]
async fn an_upgrade_that_fails_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let file = closed_file(directory.path()).await;
    let connection = Connection::open(&file).unwrap();
    connection.execute_batch("CREATE TABLE notes (x)").unwrap();
    let before = shape(&file);
    open::upgrade(&connection, 1, &LATER).unwrap_err();
    assert_eq!((shape(&file), format_of(&file)), (before, 1));
    assert!(connection.is_autocommit(), "no transaction is left open");
}
