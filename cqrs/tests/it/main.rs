//! The contract of the store, on each database: one suite, run on SQLite always and on MariaDB where
//! `TEST_DATABASE_URL` names a server whose user may create databases.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that can't go on fails; the setting for tests does not reach helper functions"
)]

/// Makes each scenario (`async fn(Db)`) a test on both databases.
macro_rules! on_both_databases {
    ($($scenario:ident,)+) => {
        mod sqlite {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $scenario() {
                    crate::support::on_sqlite(super::$scenario).await;
                }
            )+
        }
        mod mariadb {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                #[ignore = "needs MariaDB; run by make test"]
                async fn $scenario() {
                    crate::support::on_mariadb(super::$scenario).await;
                }
            )+
        }
    };
}

mod alert_feed;
mod chats;
mod etags;
mod history;
mod leases;
mod ledger;
mod lists;
mod outbox;
mod previews;
mod price_lists;
mod prices;
mod queries;
mod rehearsing;
mod requests;
mod rules;
mod snoozing;
mod store;
mod support;
mod together;
mod tokens;
mod user_deletion;
mod users;
