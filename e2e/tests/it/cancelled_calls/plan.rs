//! What is to be called, on users and rules that are there before.

use e2e::day::SplitMix;
use proto::v1;
use proto::v1::rule_service_client::RuleServiceClient;

use super::command::{Call, Command, created};
use crate::api_run::{ApiRun, User, some_rule};

const USERS: usize = 32;
/// Rules to be changed and snoozed, of each user.
const RULES: usize = 10;
const BATCH: usize = 3;

/// Calls whose notes, addresses and request ids say which call a row is of: a rule's note is its command's request id, and
/// of a batch, that with the place behind a slash.
pub(super) struct Plan {
    pub(super) uncancelled: Vec<Call>,
    pub(super) cancelled: Vec<Call>,
    /// All of both, by what they leave behind.
    creations: usize,
    batches: usize,
    registrations: usize,
    updates: usize,
    deletions: usize,
    deleted_users: usize,
    revoked: usize,
    users: usize,
}

impl Plan {
    pub(super) async fn make(run: &mut ApiRun, cancelled: usize, uncancelled: usize) -> Self {
        let users = run.register(USERS).await;
        let mut rules = Vec::new();
        for user in &users {
            let ids = create(run, user, RULES).await;
            rules.extend(ids.into_iter().map(|id| (user.clone(), id)));
        }
        let mut plan = Self {
            uncancelled: Vec::new(),
            cancelled: Vec::new(),
            creations: 0,
            batches: 0,
            registrations: 0,
            updates: 0,
            deletions: 0,
            deleted_users: 0,
            revoked: 0,
            users: USERS,
        };
        let mut random = SplitMix(3);
        let mut calls = Vec::new();
        for number in 0..cancelled + uncancelled {
            calls.push(plan.call(run, number, &users, &rules, &mut random).await);
        }
        plan.cancelled = calls.split_off(uncancelled);
        plan.uncancelled = calls;
        plan
    }

    async fn call(
        &mut self,
        run: &mut ApiRun,
        number: usize,
        users: &[User],
        rules: &[(User, String)],
        random: &mut SplitMix,
    ) -> Call {
        let user = &users[number % users.len()];
        // Each kind comes among any hundred calls.
        let of_rules = match number % 100 {
            0..30 => Some(self.creation(number, user)),
            30..38 => Some(self.batch(number, user)),
            38..58 => Some(self.update(number, rules, random)),
            58..68 => {
                self.deletions += 1;
                let rule_id = create(run, user, 1).await.remove(0);
                let command = Command::Delete(v1::DeleteRuleRequest {
                    rule_id,
                    request_id: format!("delete-{number}"),
                    etag: String::new(),
                });
                Some(Call {
                    user: user.clone(),
                    command,
                })
            }
            68..76 => {
                let (user, rule_id) = rules[number % rules.len()].clone();
                let until = std::time::SystemTime::now() + std::time::Duration::from_secs(3_600);
                let end = Some(v1::snooze::End::UntilTime(until.into()));
                let command = Command::Snooze(v1::SnoozeRuleRequest {
                    rule_id,
                    snooze: Some(v1::Snooze { end }),
                    ..v1::SnoozeRuleRequest::default()
                });
                Some(Call { user, command })
            }
            _ => None,
        };
        match of_rules {
            Some(call) => call,
            None => self.of_users(run, number, user).await,
        }
    }

    async fn of_users(&mut self, run: &mut ApiRun, number: usize, user: &User) -> Call {
        let mut user = user.clone();
        let command = match number % 100 {
            76..82 => self.registration(number),
            82..88 => Command::UpdateUser(v1::UpdateUserRequest {
                user: Some(v1::User {
                    reminder_interval_seconds: Some(60 + i64::try_from(number).unwrap()),
                    ..v1::User::default()
                }),
                update_mask: Some(prost_types::FieldMask {
                    paths: vec!["reminder_interval_seconds".to_owned()],
                }),
                request_id: format!("user-{number}"),
                validate_only: false,
            }),
            88..92 => Command::Link,
            // Each of these has a user of its own, who has rules.
            other => {
                self.users += 1;
                user = run.register(1).await.remove(0);
                create(run, &user, BATCH).await;
                match other {
                    // There may be few of one user in a minute.
                    92..94 => {
                        let (chat, id) = (self.users, &user.id);
                        run.servers
                            .sql(&format!("update users set chat_id = {chat} where id = '{id}'"))
                            .unwrap();
                        Command::TestAlert
                    }
                    94..96 => Command::Rotate,
                    96..98 => {
                        self.revoked += 1;
                        Command::Revoke
                    }
                    _ => {
                        self.deleted_users += 1;
                        Command::DeleteUser
                    }
                }
            }
        };
        Call { user, command }
    }

    fn creation(&mut self, number: usize, user: &User) -> Call {
        self.creations += 1;
        let request_id = format!("create-{number}");
        let command = Command::Create(v1::CreateRuleRequest {
            rule: Some(some_rule(number as u64, &request_id)),
            request_id,
            validate_only: false,
        });
        Call {
            user: user.clone(),
            command,
        }
    }

    fn batch(&mut self, number: usize, user: &User) -> Call {
        self.batches += 1;
        let request_id = format!("batch-{number}");
        let rule = |place| some_rule((number + place) as u64, &format!("{request_id}/{place}"));
        let command = Command::Batch(v1::BatchCreateRulesRequest {
            rules: (0..BATCH).map(rule).collect(),
            request_id: request_id.clone(),
            validate_only: false,
        });
        Call {
            user: user.clone(),
            command,
        }
    }

    fn update(&mut self, number: usize, rules: &[(User, String)], random: &mut SplitMix) -> Call {
        self.updates += 1;
        // Some are changed by several at once.
        let some = if random.below(3) == 0 { 4 } else { rules.len() };
        let (user, id) = rules[usize::try_from(random.below(some as u64)).unwrap()].clone();
        let command = Command::Update(v1::UpdateRuleRequest {
            rule: Some(v1::Rule {
                id,
                paused: number.is_multiple_of(2),
                ..v1::Rule::default()
            }),
            update_mask: Some(prost_types::FieldMask {
                paths: vec!["paused".to_owned()],
            }),
            request_id: format!("update-{number}"),
            validate_only: false,
        });
        Call { user, command }
    }

    fn registration(&mut self, number: usize) -> Command {
        self.registrations += 1;
        self.users += 1;
        let request_id = format!("00000000-0000-4000-8000-{number:012}");
        Command::Register(v1::RegisterUserRequest {
            email: format!("cancelled{number}@example.org"),
            rules: vec![some_rule(number as u64, &request_id)],
            request_id,
        })
    }

    /// Once all calls were answered.
    pub(super) fn all_is_done_once(&self, run: &ApiRun) {
        let made = |notes: &str| {
            let rows = run.count(&format!("rules where note like '{notes}'"));
            let ids = run.count(&format!(
                "(select distinct note from rules where note like '{notes}') notes"
            ));
            (rows, ids)
        };
        assert_eq!(made("create-%"), (self.creations, self.creations));
        assert_eq!(made("batch-%"), (self.batches * BATCH, self.batches * BATCH));
        assert_eq!(made("00000000-%"), (self.registrations, self.registrations));
        assert_eq!(
            run.count("users where email like 'cancelled%'"),
            self.registrations
        );
        assert_eq!(run.count("users"), self.users - self.deleted_users);
        let changes = run.servers.sql("select sum(version - 1) from rules").unwrap();
        assert_eq!(changes.trim(), self.updates.to_string());
        // Those to be deleted were made with this note, too: so many of each user are left.
        let left = USERS * RULES + (self.users - USERS - self.registrations - self.deleted_users) * BATCH;
        assert_eq!(run.count("rules where note = 'before'"), left);
        assert_eq!(
            run.count("api_tokens"),
            self.users - self.deleted_users - self.revoked
        );
    }
}

async fn create(run: &ApiRun, user: &User, count: usize) -> Vec<String> {
    let message = v1::BatchCreateRulesRequest {
        rules: (0..count)
            .map(|number| some_rule(number as u64, "before"))
            .collect(),
        ..v1::BatchCreateRulesRequest::default()
    };
    let mut client = RuleServiceClient::new(run.channel());
    let answer = client.batch_create_rules(user.request(message)).await.unwrap();
    let results = answer.into_inner().results;
    results.iter().map(|result| created(result).id.clone()).collect()
}
