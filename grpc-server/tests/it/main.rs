//! The gRPC server as its callers see it.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests fail by panicking; clippy.toml allows it in test functions alone"
)]

/// Makes each scenario, an `async fn(Database)`, a test on both stores.
macro_rules! on_both_stores {
    ($($scenario:ident,)+) => {
        mod sqlite {
            $(
                #[tokio::test]
                async fn $scenario() {
                    super::$scenario(crate::app::Database::sqlite()).await;
                }
            )+
        }

        mod mariadb {
            $(
                #[tokio::test]
                #[ignore = "needs MariaDB; run by make test"]
                async fn $scenario() {
                    crate::app::Database::on_mariadb(super::$scenario).await;
                }
            )+
        }
    };
}

/// Makes each scenario, an `async fn(Database, KafkaSettings)`, a test on SQLite with the embedded broker, and one on
/// the servers that run in production.
macro_rules! on_both_systems {
    ($($scenario:ident,)+) => {
        mod embedded {
            $(
                #[tokio::test]
                async fn $scenario() {
                    let broker = service::kafka::EmbeddedBroker::start(4).unwrap();
                    super::$scenario(crate::app::Database::sqlite(), broker.settings().clone()).await;
                }
            )+
        }

        mod servers {
            $(
                #[tokio::test]
                #[ignore = "needs MariaDB and Kafka; run by make test"]
                async fn $scenario() {
                    let kafka = crate::app::kafka_server();
                    crate::app::Database::on_mariadb(|database| super::$scenario(database, kafka)).await;
                }
            )+
        }
    };
}

mod access;
mod admin;
mod app;
mod bad_input;
mod batches;
mod commands;
mod conditions;
mod credentials;
mod health;
mod limits;
mod methods;
mod previews;
mod price_lists;
mod queries;
mod reflection;
mod refusal;
mod relay;
mod rules_topic;
mod streams;
mod system;
mod tls;
mod tokens;
mod user_deletion;
