//! Every question that is asked often finds its rows by an index, in the order it wants them.

use rusqlite::Connection;

use super::{super::*, open};

/// Explains a query, in SQLite's words: a line for each table it goes through, or each sort it makes.
fn plan(connection: &Connection, query: &str) -> Vec<String> {
    let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {query}")).unwrap();
    let empty = vec![rusqlite::types::Null; statement.parameter_count()];
    let lines = statement.query_map(rusqlite::params_from_iter(empty), |row| row.get("detail"));
    lines.unwrap().collect::<Result<_, _>>().unwrap()
}

#[test]
fn no_frequent_question_reads_a_table_or_sorts() {
    let folder = tempfile::tempdir().unwrap();
    drop(open(&folder));
    let connection = Connection::open(folder.path().join("headworks.db")).unwrap();
    let questions = [
        persist::KNOWN,
        persist::NEWEST,
        ledger::STATE,
        ledger::STATE_IN_SCOPE,
        ledger::REMOVE,
        ledger::UNPURGED,
        catalog::FIND,
        catalog::VERSIONS,
        catalog::FIRST,
        catalog::USAGE,
        events::LAST,
        relay::MAKE,
        outbox::DUE,
        outbox::PENDING,
        outbox::OLDEST,
        audit::PAGE,
        prune::TOMBSTONES,
        prune::LEDGER,
        prune::EVENTS,
    ];
    for question in questions {
        let plan = plan(&connection, question);
        assert!(plan.iter().any(|line| line.contains("SEARCH")), "{question}\n{plan:#?}");
        // `progress` has one row. The others are walked from their end by number, no further than they must.
        let harmless = |line: &String| line.contains("SCAN progress") || line.contains("SCAN CONSTANT ROW");
        let bad: Vec<_> =
            plan.iter().filter(|line| line.contains("SCAN") || line.contains("TEMP B-TREE")).collect();
        assert!(bad.iter().all(|line| harmless(line)), "{question}\n{plan:#?}");
    }
}

#[test]
fn the_newest_letters_and_log_lines_come_from_the_end_of_their_order() {
    let folder = tempfile::tempdir().unwrap();
    drop(open(&folder));
    let connection = Connection::open(folder.path().join("headworks.db")).unwrap();
    assert_eq!(
        plan(&connection, dead_letters::NEWEST),
        ["SEARCH dead_letters USING INDEX dead_letters_by_time ((at,id)<(?,?))"]
    );
    let log = plan(&connection, outbox::LOG);
    assert_eq!(log, ["SCAN l", "SEARCH r USING INTEGER PRIMARY KEY (rowid=?)"]);
}

/// A million uploads are a million rows in each of three tables.
#[test]
fn no_audit_reads_a_table_again_for_each_row_of_another() {
    let folder = tempfile::tempdir().unwrap();
    drop(open(&folder));
    let connection = Connection::open(folder.path().join("headworks.db")).unwrap();
    for question in audit::QUESTIONS {
        let plan = plan(&connection, question);
        let again = plan.windows(2).any(|two| two[0].starts_with("CORRELATED") && two[1].starts_with("SCAN"));
        assert!(!again, "{question}\n{plan:#?}");
    }
}

/// As it would be whenever a value is bound, if SQLite were to look at it: that doubled the time of a batch.
#[test]
fn no_statement_is_prepared_anew_for_each_record() {
    let folder = tempfile::tempdir().unwrap();
    drop(open(&folder));
    let connection = crate::sqlite::open_to_read(&folder.path().join("headworks.db")).unwrap();
    let mut newest = connection.prepare(persist::NEWEST).unwrap();
    for path in ["a", "b", "c"] {
        newest.query_row((1, path), |_| Ok(())).unwrap();
    }
    assert_eq!(newest.get_status(rusqlite::StatementStatus::RePrepare), 0);
}

#[test]
fn a_listing_seeks_each_path_in_the_index() {
    let folder = tempfile::tempdir().unwrap();
    drop(open(&folder));
    let connection = Connection::open(folder.path().join("headworks.db")).unwrap();
    let index = "SEARCH o USING INDEX objects_by_path (scope=? AND path>? AND path<?)";
    assert_eq!(plan(&connection, catalog::FIRST), [index]);
}
