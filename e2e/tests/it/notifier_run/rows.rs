//! The database from outside: rows locked, counted, and waited for.

use sqlx::{Connection as _, MySqlConnection};

use super::{NotifierRun, User};

impl NotifierRun {
    /// Locks rows until what it gives is dropped.
    pub(super) async fn lock(&self, rows: &str) -> MySqlConnection {
        let mut connection = MySqlConnection::connect(&self.servers.database_url)
            .await
            .unwrap();
        for statement in ["begin".to_owned(), format!("select * from {rows} for update")] {
            sqlx::raw_sql(sqlx::AssertSqlSafe(statement))
                .execute(&mut connection)
                .await
                .unwrap();
        }
        connection
    }

    /// How many transactions wait for locked rows of this table (of any, if it is empty), and not only for a moment, as it
    /// happens anyway. Ask once in a while only: whoever asks within 100 ms of the last time gets the old answer again.
    pub(super) fn waiting_for(&self, table: &str) -> usize {
        self.count(&format!(
            "information_schema.innodb_trx where trx_state = 'LOCK WAIT' and trx_query like '%{table}%' and \
             timestampdiff(microsecond, trx_wait_started, now(6)) > 1500000"
        ))
    }

    pub(super) fn deliveries(&self, user: &User, status: &str) -> usize {
        self.count(&format!(
            "deliveries where rule_id = '{}' and status = '{status}'",
            user.rule.id
        ))
    }

    pub(super) fn all_deliveries(&self, user: &User) -> usize {
        self.count(&format!("deliveries where rule_id = '{}'", user.rule.id))
    }

    pub(super) fn count(&self, rows: &str) -> usize {
        let count = self.servers.sql(&format!("select count(*) from {rows}")).unwrap();
        count.trim().parse().unwrap()
    }
}
