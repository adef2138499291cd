use std::fmt;
use std::path::Path;
use std::str::FromStr as _;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use sqlx::any::{AnyConnectOptions, AnyPoolOptions};
use sqlx::migrate::Migrator;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AnyConnection, AnyPool, AssertSqlSafe, Connection as _, Executor as _};

use crate::dialect::Dialect;
use crate::{
    AlertFeed, Commands, Leases, Ledger, Limits, Operators, Outbox, Queries, QuoteHistory, StoreError,
};

static MIGRATIONS: LazyLock<Migrator> = LazyLock::new(|| {
    let mut migrator = sqlx::migrate!("../db/migrations");
    // Its lock on MySQL waits without end, which MariaDB takes for not at all; `migrate` has a better one.
    migrator.set_locking(false);
    migrator
});

/// How long a statement waits for a free connection before it fails: longer than a burst, shorter than a caller's
/// patience.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(10);

/// Between two tries to reach the database at start.
const CONNECT_PAUSE: Duration = Duration::from_millis(500);

/// Where the data is. Its `Debug` hides the URLs, which hold passwords.
#[derive(Clone)]
pub struct StoreSettings {
    /// `mysql://USER:PASSWORD@HOST:PORT/DATABASE` (also `mariadb://`) or `sqlite://PATH`. For MySQL, `?ssl-mode=` says
    /// how the connection is encrypted (`VERIFY_IDENTITY`, with `ssl-ca=`, over any network that others share): without
    /// it, TLS is used where the server offers it, and an attacker in between could prevent that. An SQLite file and its
    /// folder are created where missing.
    pub url: String,
    /// Another server for reads (a replica, MySQL only); the same one if absent.
    pub read_url: Option<String>,
    /// Most connections to each, at least 1. (SQLite: for reads; it has one writer.)
    pub max_connections: u32,
    /// How long to try at start before giving up.
    pub connect_timeout: Duration,
}

impl fmt::Debug for StoreSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreSettings")
            .field("max_connections", &self.max_connections)
            .field("connect_timeout", &self.connect_timeout)
            .finish_non_exhaustive()
    }
}

/// Connections to the database. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Store {
    /// For transactions. SQLite: a single connection, so that writers wait in line here and not for the file.
    pub(crate) write: AnyPool,
    /// For what may be a moment old.
    pub(crate) read: AnyPool,
    pub(crate) dialect: Dialect,
}

impl Store {
    /// Connects (trying again until `connect_timeout`) and brings the schema up to date. Any number of processes may do
    /// so at once: one migrates, the others wait.
    ///
    /// # Errors
    /// If a URL is wrong, the server can't be reached in time, or a migration fails.
    pub async fn open(settings: &StoreSettings) -> Result<Self, StoreError> {
        sqlx::any::install_default_drivers();
        let (dialect, write_options) = parse_url(&settings.url, "the database URL")?;
        let read_options = match &settings.read_url {
            None => write_options.clone(),
            Some(url) => {
                let (read_dialect, options) = parse_url(url, "the read database URL")?;
                if read_dialect != Dialect::MySql || dialect != Dialect::MySql {
                    return Err(StoreError::Setting(
                        "a read database needs MySQL on both sides; leave it out with SQLite".to_owned(),
                    ));
                }
                options
            }
        };
        let deadline = Instant::now() + settings.connect_timeout;
        let connection = connect(dialect, &write_options, deadline).await?;
        migrate(dialect, connection, deadline).await?;
        connect(dialect, &read_options, deadline).await?.close().await?;

        let writers = match dialect {
            Dialect::MySql => settings.max_connections,
            Dialect::Sqlite => 1,
        };
        Ok(Self {
            write: pool(write_options, writers, dialect.session().to_owned()),
            read: pool(
                read_options,
                settings.max_connections,
                [dialect.session(), dialect.read_session()].concat(),
            ),
            dialect,
        })
    }

    /// Whether the database answers.
    ///
    /// # Errors
    /// If it does not.
    pub async fn ping(&self) -> Result<(), StoreError> {
        self.primary().execute("select 1").await?;
        self.read.execute("select 1").await?;
        Ok(())
    }

    /// Closes the connections.
    pub async fn close(&self) {
        self.write.close().await;
        self.read.close().await;
    }

    /// For reads that must see what was committed a moment ago: never a replica.
    pub(crate) const fn primary(&self) -> &AnyPool {
        match self.dialect {
            Dialect::MySql => &self.write,
            Dialect::Sqlite => &self.read,
        }
    }

    /// Writes on behalf of users.
    #[must_use]
    pub fn commands(&self, limits: Limits) -> Commands {
        Commands::new(self.clone(), limits)
    }

    /// Reads on behalf of users.
    #[must_use]
    pub fn queries(&self) -> Queries {
        Queries::new(self.clone())
    }

    /// Users' alerts, for readers that go on where they were.
    #[must_use]
    pub fn alert_feed(&self) -> AlertFeed {
        AlertFeed::new(self.clone())
    }

    /// What the relay publishes.
    #[must_use]
    pub fn outbox(&self) -> Outbox {
        Outbox::new(self.clone())
    }

    /// Who leads.
    #[must_use]
    pub fn leases(&self) -> Leases {
        Leases::new(self.clone())
    }

    /// What operators see and do.
    #[must_use]
    pub fn operators(&self) -> Operators {
        Operators::new(self.clone())
    }

    /// What users were told.
    #[must_use]
    pub fn ledger(&self) -> Ledger {
        Ledger::new(self.clone())
    }

    /// Recorded prices.
    #[must_use]
    pub fn history(&self) -> QuoteHistory {
        QuoteHistory::new(self.clone())
    }
}

fn parse_url(url: &str, name: &str) -> Result<(Dialect, AnyConnectOptions), StoreError> {
    // No error shows the URL: it holds a password.
    let wrong = |reason: &str| {
        StoreError::Setting(format!(
            "{name} {reason}; give mysql://USER:PASSWORD@HOST:PORT/DATABASE or sqlite://PATH"
        ))
    };
    let (dialect, url) = match url.split_once(':') {
        Some(("mysql" | "mariadb", _)) => {
            sqlx::mysql::MySqlConnectOptions::from_str(url)
                .map_err(|error| wrong(&format!("can't work ({error})")))?;
            (Dialect::MySql, url.to_owned())
        }
        Some(("sqlite", path)) => {
            if path.contains(":memory:") || path.contains("mode=memory") {
                return Err(wrong("names no file, and several connections have to share one"));
            }
            let options = SqliteConnectOptions::from_str(url)
                .map_err(|error| wrong(&format!("can't work ({error})")))?;
            create_folder(options.get_filename())?;
            let separator = if url.contains('?') { '&' } else { '?' };
            (
                Dialect::Sqlite,
                if url.contains("mode=") {
                    url.to_owned()
                } else {
                    format!("{url}{separator}mode=rwc")
                },
            )
        }
        _ => return Err(wrong("names no database that this program knows")),
    };
    let options =
        AnyConnectOptions::from_str(&url).map_err(|error| wrong(&format!("can't work ({error})")))?;
    Ok((dialect, options))
}

fn create_folder(file: &Path) -> Result<(), StoreError> {
    match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => std::fs::create_dir_all(folder).map_err(|error| {
            StoreError::Setting(format!(
                "the folder {} for the database can't be made ({error}); give a path that can be written to",
                folder.display()
            ))
        }),
        _ => Ok(()),
    }
}

fn pool(options: AnyConnectOptions, connections: u32, session: String) -> AnyPool {
    AnyPoolOptions::new()
        .max_connections(connections.max(1))
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .after_connect(move |connection, _| {
            let session = session.clone();
            Box::pin(async move { connection.execute(AssertSqlSafe(session)).await.map(drop) })
        })
        .connect_lazy_with(options)
}

async fn connect(
    dialect: Dialect,
    options: &AnyConnectOptions,
    deadline: Instant,
) -> Result<AnyConnection, StoreError> {
    loop {
        match tokio::time::timeout_at(deadline.into(), connect_once(dialect, options)).await {
            Ok(Ok(connection)) => return Ok(connection),
            Ok(Err(error)) if !dialect.is_final(&error) && Instant::now() + CONNECT_PAUSE < deadline => {
                tracing::warn!(error = %StoreError::from(error), "the database can't be reached yet; trying again");
                tokio::time::sleep(CONNECT_PAUSE).await;
            }
            Ok(Err(error)) => return Err(error.into()),
            Err(_) => return Err(sqlx::Error::PoolTimedOut.into()),
        }
    }
}

async fn connect_once(dialect: Dialect, options: &AnyConnectOptions) -> Result<AnyConnection, sqlx::Error> {
    let mut connection = AnyConnection::connect_with(options).await?;
    connection.execute(AssertSqlSafe(dialect.session())).await?;
    Ok(connection)
}

/// Takes the connection: closing it gives the lock back, also of a migration that failed.
///
/// Dropping an index is what the migrations have no words for that both stores understand. The one that goes made e-mail
/// addresses unique: nothing is looked up by them, and a refusal would tell anybody who is registered.
async fn migrate(
    dialect: Dialect,
    mut connection: AnyConnection,
    deadline: Instant,
) -> Result<(), StoreError> {
    // Not `run`, which does the same: its future can't be spawned.
    match dialect {
        Dialect::MySql => {
            lock_schema(&mut connection, deadline).await?;
            use_utf8(&mut connection).await?;
            MIGRATIONS.run_direct(None, &mut connection, false).await?;
            let has_index: i64 = sqlx::query_scalar(
                "select cast(count(*) as signed) from information_schema.statistics
                 where table_schema = database() and table_name = 'users' and index_name = 'users_email'",
            )
            .fetch_one(&mut connection)
            .await?;
            if has_index > 0 {
                connection.execute("drop index users_email on users").await?;
            }
        }
        Dialect::Sqlite => {
            // One write transaction around all makes other processes wait.
            let mut transaction = connection.begin_with(dialect.begin()).await?;
            MIGRATIONS.run_direct(None, &mut *transaction, false).await?;
            transaction.execute("drop index if exists users_email").await?;
            transaction.commit().await?;
        }
    }
    connection.close().await?;
    Ok(())
}

/// Waits until no other process brings this database's schema up to date.
async fn lock_schema(connection: &mut AnyConnection, deadline: Instant) -> Result<(), StoreError> {
    let wait = deadline
        .saturating_duration_since(Instant::now())
        .as_secs()
        .max(1);
    let locked: Option<i64> =
        sqlx::query_scalar("select cast(get_lock(concat('stockalert.', md5(database())), ?) as signed)")
            .bind(i64::try_from(wait).unwrap_or(i64::MAX))
            .fetch_one(connection)
            .await?;
    if locked == Some(1) {
        return Ok(());
    }
    Err(StoreError::Setting(format!(
        "another process has been bringing the database's schema up to date for {wait} s; wait for it to end, then start again"
    )))
}

/// Makes tables hold any text and compare it byte by byte, as SQLite does, whatever the server's default (MariaDB's is
/// latin1, where case does not count). The migrations can't say it in words that both stores understand.
async fn use_utf8(connection: &mut AnyConnection) -> Result<(), StoreError> {
    let collation: String = sqlx::query_scalar("select cast(@@collation_database as char)")
        .fetch_one(&mut *connection)
        .await?;
    if collation != "utf8mb4_bin" {
        connection
            .execute("alter database character set utf8mb4 collate utf8mb4_bin")
            .await?;
    }
    Ok(())
}
