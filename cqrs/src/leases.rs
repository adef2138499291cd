use std::time::Duration;

use sqlx::Row as _;

use crate::dialect::{self, database_now};
use crate::transaction::Tx;
use crate::{Store, StoreError};

/// Leadership of one name, held until the time runs out. By the database's clock, so that instances need not agree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// Grows with each change of holder.
    pub term: i64,
}

/// Who leads what.
#[derive(Debug, Clone)]
pub struct Leases {
    store: Store,
}

impl Leases {
    pub(crate) fn new(store: Store) -> Self {
        Self { store }
    }

    /// Takes or renews the lease `name` (at most 64 characters) for `holder` (at most 128, its own for each instance),
    /// unless another holds it. `None`: another does. It lasts for `ttl` from a moment within this call, so a holder
    /// counts from before the call, and stops leading when that time is over.
    ///
    /// # Errors
    /// If the store fails; whether the lease was taken is unknown then.
    pub async fn acquire(
        &self,
        name: &str,
        holder: &str,
        ttl: Duration,
    ) -> Result<Option<Lease>, StoreError> {
        let (name, holder) = (name.to_owned(), holder.to_owned());
        self.store
            .transaction(move |tx| {
                let (name, holder) = (name.clone(), holder.clone());
                Box::pin(async move { acquire(tx, name, holder, ttl).await })
            })
            .await
    }

    /// Gives it up, if held, so that another can take it at once.
    ///
    /// # Errors
    /// If the store fails; the lease then runs out by itself.
    pub async fn release(&self, name: &str, holder: &str) -> Result<(), StoreError> {
        let (name, holder) = (name.to_owned(), holder.to_owned());
        self.store
            .transaction(move |tx| {
                let (name, holder) = (name.clone(), holder.clone());
                Box::pin(async move {
                    sqlx::query(
                        "update leases set holder = '', expires_at = 0 where name = ? and holder = ?",
                    )
                    .bind(name)
                    .bind(holder)
                    .execute(tx.connection())
                    .await?;
                    Ok(())
                })
            })
            .await
    }
}

async fn acquire(
    tx: &mut Tx,
    name: String,
    holder: String,
    ttl: Duration,
) -> Result<Option<Lease>, StoreError> {
    let select = format!(
        "select holder, term, expires_at from leases where name = ?{}",
        tx.dialect.for_update()
    );
    let mut row = dialect::query(select.clone())
        .bind(name.clone())
        .fetch_optional(tx.connection())
        .await?;
    if row.is_none() {
        let insert = format!(
            "{} leases (name, holder, term, expires_at) values (?, '', 0, 0)",
            tx.dialect.insert_ignore()
        );
        dialect::query(insert)
            .bind(name.clone())
            .execute(tx.connection())
            .await?;
        row = dialect::query(select)
            .bind(name.clone())
            .fetch_optional(tx.connection())
            .await?;
    }
    let row = row.ok_or(StoreError::Interrupted)?;
    // Only now, with the row kept from changing: waiting for it may have taken long.
    let now = database_now(tx.dialect, tx.connection()).await?;

    let (current, term): (String, i64) = (row.try_get("holder")?, row.try_get("term")?);
    let is_ours = current == holder;
    if !is_ours && row.try_get::<i64, _>("expires_at")? > now {
        return Ok(None);
    }
    let term = if is_ours { term } else { term + 1 };
    sqlx::query("update leases set holder = ?, term = ?, expires_at = ? where name = ?")
        .bind(holder)
        .bind(term)
        .bind(now.saturating_add(i64::try_from(ttl.as_micros()).unwrap_or(i64::MAX)))
        .bind(name)
        .execute(tx.connection())
        .await?;
    Ok(Some(Lease { term }))
}
