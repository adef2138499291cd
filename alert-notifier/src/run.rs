use std::sync::Arc;

use anyhow::Context as _;
use cqrs::{Ledger, Store};
use secrecy::SecretString;
use service::Context;
use service::kafka::Kafka;
use service::test_alerts::TestAlerts;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::alerts::Alerts;
use crate::bot::{self, Courier, Desk, Standing, Webhook};
use crate::clock::Clock;
use crate::delivery::Worker;
use crate::feeds::Feeds;
use crate::intake::{Folding, Intake};
use crate::sender::{Sender, TelegramSender, TerminalSender};
use crate::{Config, metrics, reminders};

/// Folds alerts, sends messages, plans reminders and answers the bot's users, until shutdown.
///
/// # Errors
/// If the database or the broker can't be reached at start, or one of the parts ends for good: the supervisor is to start
/// the process again.
pub async fn run(config: Config, context: Context) -> anyhow::Result<()> {
    metrics::describe();
    // One connection less to wait for if shutdown comes while they are made.
    let connected = context.shutdown.run_until_cancelled(connect(&config)).await;
    let Some(connected) = connected else { return Ok(()) };
    let (store, kafka) = connected?;
    // Ends all parts when one of them ends, shutdown or not.
    let shutdown = context.shutdown.child_token();
    let parts = Parts {
        config,
        context,
        ledger: store.ledger(),
        clock: Clock::default(),
        store: store.clone(),
        planned: Arc::default(),
        shutdown,
    };
    let result = parts.run(&kafka).await;
    store.close().await;
    result
}

async fn connect(config: &Config) -> anyhow::Result<(Store, Kafka)> {
    let store = Store::open(&config.database.store_settings())
        .await
        .context("the database can't be used")?;
    let kafka = Kafka::connect(&config.kafka.settings())
        .await
        .context("Kafka can't be used")?;
    Ok((store, kafka))
}

struct Parts {
    config: Config,
    context: Context,
    store: Store,
    ledger: Ledger,
    clock: Clock,
    /// Wakes the worker when something was planned.
    planned: Arc<Notify>,
    shutdown: CancellationToken,
}

impl Parts {
    async fn run(self, kafka: &Kafka) -> anyhow::Result<()> {
        let clock = self.clock.read(&self.ledger).await;
        clock.context("the database's clock can't be read")?;
        let mut tasks: JoinSet<anyhow::Result<()>> = JoinSet::new();
        self.spawn_intake(
            &mut tasks,
            kafka,
            "alerts",
            Alerts(self.ledger.clone(), self.clock.clone()),
        )?;
        self.spawn_intake(
            &mut tasks,
            kafka,
            "feeds",
            Feeds(self.ledger.clone(), self.clock.clone()),
        )?;
        let planner = reminders::run(
            self.ledger.clone(),
            self.clock.clone(),
            Arc::clone(&self.planned),
            self.shutdown.clone(),
        );
        tasks.spawn(async move {
            planner.await;
            Ok(())
        });
        match self.config.telegram.bot_token.clone() {
            Some(token) => {
                let api_url = &self.config.telegram.api_url;
                let sender = TelegramSender::new(api_url.clone(), token.clone(), self.config.telegram.pace())
                    .context("the HTTP client for Telegram can't be made")?;
                self.spawn_worker(&mut tasks, sender);
                self.spawn_bot(&mut tasks, kafka, &token).await?;
            }
            None => {
                tracing::info!("no TELEGRAM_BOT_TOKEN is set: messages go to the terminal");
                self.spawn_worker(&mut tasks, TerminalSender);
            }
        }
        let mut result = Ok(());
        while let Some(ended) = tasks.join_next().await {
            // The first to end, asked to or not, ends the others.
            self.shutdown.cancel();
            result = result.and(
                ended
                    .context("a part of the notifier panicked")
                    .and_then(|ended| ended),
            );
        }
        result
    }

    fn spawn_intake<F: Folding>(
        &self,
        tasks: &mut JoinSet<anyhow::Result<()>>,
        kafka: &Kafka,
        component: &'static str,
        folding: F,
    ) -> anyhow::Result<()> {
        let intake = Intake::new(
            kafka,
            folding,
            Arc::clone(&self.planned),
            self.shutdown.clone(),
            self.context.health.component(component),
        )?;
        tasks.spawn(async move {
            intake
                .run()
                .await
                .with_context(|| format!("the topic {} can't be read any more", F::TOPIC.name))
        });
        Ok(())
    }

    fn spawn_worker<S: Sender>(&self, tasks: &mut JoinSet<anyhow::Result<()>>, sender: S) {
        let worker = Worker::new(
            self.ledger.clone(),
            self.clock.clone(),
            sender,
            Arc::clone(&self.planned),
            &self.config,
            self.shutdown.clone(),
            self.context.health.component("deliveries"),
        );
        tasks.spawn(async move {
            worker.run().await;
            Ok(())
        });
    }

    async fn spawn_bot(
        &self,
        tasks: &mut JoinSet<anyhow::Result<()>>,
        kafka: &Kafka,
        token: &SecretString,
    ) -> anyhow::Result<()> {
        let telegram = &self.config.telegram;
        let bot =
            bot::connect(token, &telegram.api_url).context("the HTTP client for the bot can't be made")?;
        let tests = TestAlerts::new(kafka).context("a producer for test alerts can't be made")?;
        let desk = Desk::new(
            self.store.commands(self.config.limits()),
            self.store.queries(),
            self.ledger.clone(),
            tests,
            self.config.max_rules_per_user,
        );
        let webhook = match (&telegram.webhook.webhook_url, telegram.webhook.webhook_listen) {
            (Some(url), Some(listen)) => {
                let webhook = Webhook::new(url.clone(), telegram.webhook.webhook_secret.clone(), token);
                let listener = TcpListener::bind(listen)
                    .await
                    .with_context(|| format!("{listen} can't be listened on for Telegram's calls"))?;
                Some((webhook, listener))
            }
            _ => None,
        };
        let (ledger, leases, pace) = (self.ledger.clone(), self.store.leases(), telegram.pace());
        let shutdown = self.shutdown.clone();
        let mut standing = Standing::new(self.context.health.component("bot"));
        tasks.spawn(async move {
            let hook = webhook.as_ref().map(|(webhook, _)| webhook);
            let Some(me) = bot::introduce(&bot, &ledger, hook, &mut standing, &shutdown).await else {
                return Ok(());
            };
            let courier = Arc::new(Courier::new(bot.clone(), me, desk, ledger, pace));
            match webhook {
                Some((webhook, listener)) => webhook
                    .serve(listener, courier, shutdown)
                    .await
                    .context("Telegram's calls can't be taken any more"),
                None => {
                    let holder = uuid::Uuid::new_v4().to_string();
                    bot::poll(bot, courier, leases, holder, standing, shutdown).await;
                    Ok(())
                }
            }
        });
        Ok(())
    }
}
