//! What the two stores spell differently. Everything else is one SQL text.

/// Which SQL the database speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// MySQL 8 or MariaDB 10.6 and later.
    MySql,
    /// SQLite 3.
    Sqlite,
}
