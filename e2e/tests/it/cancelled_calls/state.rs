//! The database after calls that nobody waits for any more.

use std::time::{Duration, Instant};

use crate::api_run::{ApiRun, PATIENCE};

/// InnoDB gives the same answer about its transactions again to whoever asks within 100 ms.
const LOOK: Duration = Duration::from_millis(150);

/// Most time that a transaction takes when nobody calls: the relay's, on a slow machine.
const OWN_SECS: u32 = 2;

/// So many looks in a row must find nothing.
const LOOKS: u32 = 10;

/// Waits until no transaction is open, be it that of a connection which waits for its next statement, but for those that the
/// relay has for a moment. Says how long that took.
pub(super) async fn nothing_is_open(run: &ApiRun) -> Duration {
    let start = Instant::now();
    let (mut looks, mut empty) = (0, 0);
    while looks < LOOKS || empty == 0 {
        tokio::time::sleep(LOOK).await;
        let old = run.count(&format!(
            "information_schema.innodb_trx where trx_started < sysdate() - interval {OWN_SECS} second"
        ));
        looks = if old == 0 { looks + 1 } else { 0 };
        empty += u32::from(run.count("information_schema.innodb_trx") == 0);
        assert!(
            start.elapsed() < PATIENCE,
            "these stay open: {}",
            run.servers
                .sql("select t.*, p.command, p.info from information_schema.innodb_trx t join information_schema.processlist p on p.id = t.trx_mysql_thread_id")
                .unwrap()
        );
    }
    assert_eq!(run.count("information_schema.innodb_lock_waits"), 0);
    start.elapsed()
}

/// What must not be, as far as rows tell that belong to one command.
pub(super) fn nothing_is_half_done(run: &ApiRun) -> String {
    const SCOPE: &str = "if(note like '00000000-%', 'register', rules.user_id)";
    let rules = |join: &str, condition: &str| {
        run.count(&format!(
            "rules {join} requests on key_hash = sha2(concat({SCOPE}, ':', substring_index(note, '/', 1)), 256) \
             where note <> 'before' and {condition}"
        ))
    };
    for (what, count) in [
        (
            "requests without an answer",
            run.count("requests where response = '' or user_id = ''"),
        ),
        ("rules without their request", rules("left join", "key_hash is null")),
        (
            "rules that their request's answer does not name",
            rules("join", "instr(response, rules.id) = 0"),
        ),
        (
            "batches of which a part is there",
            run.count("(select 1 from rules where note like 'batch-%' group by substring_index(note, '/', 1) having count(*) <> 3) parts"),
        ),
        (
            "requests that name a rule which is not there",
            run.count(
                "requests where json_value(response, '$.id') is not null \
                 and json_value(response, '$.id') not in (select id from rules)",
            ),
        ),
        (
            "users with more than one token",
            run.count("(select 1 from api_tokens group by user_id having count(*) > 1) several"),
        ),
        (
            "users with more than one link",
            run.count("(select 1 from link_tokens group by user_id having count(*) > 1) several"),
        ),
    ] {
        assert_eq!(count, 0, "{what}");
    }
    format!(
        "{} requests and {} rules are there, none of them half",
        run.count("requests"),
        run.count("rules")
    )
}
