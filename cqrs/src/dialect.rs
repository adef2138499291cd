//! What the two stores spell differently. Everything else is one SQL text.
//!
//! A statement made with these parts is text of this program alone: values are always bound, so `AssertSqlSafe` is in
//! order.

use sqlx::AssertSqlSafe;
use sqlx::any::AnyArguments;
use sqlx::query::Query;
use sqlx::{Any, AnyConnection};

/// Which SQL the database speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// MySQL 8 or MariaDB 10.6 and later.
    MySql,
    /// SQLite 3.
    Sqlite,
}

impl Dialect {
    /// At the end of a `select`: keeps the rows found from changing until the transaction ends, and waits for those that
    /// another transaction keeps. SQLite's write transactions exclude one another anyway.
    pub(crate) const fn for_update(self) -> &'static str {
        match self {
            Self::MySql => " for update",
            Self::Sqlite => "",
        }
    }

    /// Like [`Self::for_update`], but leaves out rows that another transaction keeps: for taking work from a table.
    pub(crate) const fn for_update_skip_locked(self) -> &'static str {
        match self {
            Self::MySql => " for update skip locked",
            Self::Sqlite => "",
        }
    }

    /// Begins an `insert` that leaves a row out whose key is there already; `rows_affected` counts the others. MySQL
    /// also cuts over-long text instead of failing: check lengths before.
    pub(crate) const fn insert_ignore(self) -> &'static str {
        match self {
            Self::MySql => "insert ignore into",
            Self::Sqlite => "insert or ignore into",
        }
    }

    /// Between the values of an `insert` and the assignments that update a row whose `key` (column list) is there
    /// already. MySQL makes the assignments from left to right, each seeing the ones before.
    pub(crate) fn on_conflict_update(self, key: &str) -> String {
        match self {
            Self::MySql => " on duplicate key update ".to_owned(),
            Self::Sqlite => format!(" on conflict ({key}) do update set "),
        }
    }

    /// In such an assignment: the value that was to be inserted.
    pub(crate) fn incoming(self, column: &str) -> String {
        match self {
            // Not the row alias of MySQL 8.0.19: MariaDB has none.
            Self::MySql => format!("values({column})"),
            Self::Sqlite => format!("excluded.{column}"),
        }
    }

    /// The whole end of an upsert: where a row with this `key` (column list) is there, these `columns` take the values
    /// that were to be inserted.
    pub(crate) fn upsert(self, key: &str, columns: &[&str]) -> String {
        let assignments: Vec<_> = columns
            .iter()
            .map(|column| format!("{column} = {}", self.incoming(column)))
            .collect();
        format!("{}{}", self.on_conflict_update(key), assignments.join(", "))
    }

    /// The database's clock in microseconds since the epoch, at the moment the expression runs (SQLite: milliseconds).
    pub(crate) const fn now_micros(self) -> &'static str {
        match self {
            // The session's time zone is UTC (sqlx sets it); now() would be the time the statement began to wait.
            Self::MySql => "cast(unix_timestamp(sysdate(6)) * 1000000 as signed)",
            Self::Sqlite => "cast(round(unixepoch('subsec') * 1000) * 1000 as integer)",
        }
    }

    /// How a transaction that writes begins: SQLite must take its lock at once, as one that reads first and is
    /// overtaken can't write any more.
    pub(crate) const fn begin(self) -> &'static str {
        match self {
            Self::MySql => "start transaction",
            Self::Sqlite => "begin immediate",
        }
    }

    /// What every new connection is told first.
    pub(crate) const fn session(self) -> &'static str {
        match self {
            // READ COMMITTED: no gap locks, which would let inserts into the outbox wait for one another. Strict: text
            // that does not fit is an error. A lock is waited for 10 s, then the transaction is tried again. MariaDB ends a
            // transaction whose process says nothing for 5 s: one that is frozen, or gone with its machine, would keep rows
            // locked for hours, the relay's lease among them. (MySQL knows no such setting, and takes it for a comment.)
            Self::MySql => {
                "set session transaction isolation level read committed; \
                 set session sql_mode = concat(@@sql_mode, ',STRICT_ALL_TABLES'), innodb_lock_wait_timeout = 10 \
                 /*M!100300 , idle_transaction_timeout = 5 */"
            }
            // FULL: in WAL mode only this survives a power cut.
            Self::Sqlite => {
                "pragma busy_timeout = 10000; pragma journal_mode = wal; pragma synchronous = full; \
                 pragma foreign_keys = on"
            }
        }
    }

    /// What connections for reads are told besides. A read ends after 20 s, when all who may wait for it have gone away:
    /// else the database would go on with it. (MySQL and MariaDB each take the other's setting for a comment.)
    pub(crate) const fn read_session(self) -> &'static str {
        match self {
            Self::MySql => {
                "; set session /*M!100300 max_statement_time = 20 */ /*!80000 max_execution_time = 20000 */"
            }
            Self::Sqlite => "; pragma query_only = on",
        }
    }

    /// Whether connecting again would end the same way: a wrong password or database name, a file that can't be opened.
    pub(crate) fn is_final(self, error: &sqlx::Error) -> bool {
        match (self, error.as_database_error()) {
            // Login refused (1045, or MariaDB's 1698), access to the database refused, unknown database.
            (Self::MySql, Some(error)) => error
                .try_downcast_ref::<sqlx::mysql::MySqlDatabaseError>()
                .is_some_and(|error| matches!(error.number(), 1044 | 1045 | 1049 | 1698)),
            (Self::MySql, None) => matches!(error, sqlx::Error::Configuration(_) | sqlx::Error::Tls(_)),
            // Other processes may be setting the file up.
            (Self::Sqlite, _) => !self.is_conflict(error),
        }
    }

    /// Whether the failed transaction would likely succeed if it ran again from its beginning.
    pub(crate) fn is_conflict(self, error: &sqlx::Error) -> bool {
        let Some(error) = error.as_database_error() else {
            return false;
        };
        match self {
            // Deadlock; lock wait timeout.
            Self::MySql => error
                .try_downcast_ref::<sqlx::mysql::MySqlDatabaseError>()
                .is_some_and(|error| matches!(error.number(), 1213 | 1205)),
            // SQLITE_BUSY, SQLITE_LOCKED and their extended codes: the low byte is the primary code.
            Self::Sqlite => error
                .code()
                .and_then(|code| code.parse::<i32>().ok())
                .is_some_and(|code| matches!(code & 0xff, 5 | 6)),
        }
    }
}

/// A statement made with the parts above.
pub(crate) fn query<'q>(sql: String) -> Query<'q, Any, AnyArguments> {
    sqlx::query(AssertSqlSafe(sql))
}

/// The database's clock.
pub(crate) async fn database_now(
    dialect: Dialect,
    connection: &mut AnyConnection,
) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar(AssertSqlSafe(format!("select {}", dialect.now_micros())))
        .fetch_one(connection)
        .await
}
