use std::time::Duration;

use crate::support::Db;

const LONG: Duration = Duration::from_secs(3600);

on_both_databases! {
    one_of_many_holds_a_lease,
    the_holder_renews_in_the_same_term,
    a_lease_that_ran_out_is_taken_in_a_new_term,
    a_released_lease_is_free_at_once,
    leases_of_other_names_are_independent,
}

async fn one_of_many_holds_a_lease(db: Db) {
    let tasks: Vec<_> = (0..16)
        .map(|instance| {
            let leases = db.store.leases();
            tokio::spawn(async move {
                leases
                    .acquire("relay", &format!("i{instance}"), LONG)
                    .await
                    .unwrap()
            })
        })
        .collect();
    let mut holders = Vec::new();
    for task in tasks {
        holders.extend(task.await.unwrap());
    }
    assert_eq!(holders.iter().map(|lease| lease.term).collect::<Vec<_>>(), [1]);
}

async fn the_holder_renews_in_the_same_term(db: Db) {
    let leases = db.store.leases();
    for _ in 0..3 {
        assert_eq!(
            leases
                .acquire("relay", "a", LONG)
                .await
                .unwrap()
                .map(|lease| lease.term),
            Some(1)
        );
        assert_eq!(leases.acquire("relay", "b", LONG).await.unwrap(), None);
    }
    let expires_at = db.number("select expires_at from leases").await;
    let left = expires_at - cqrs::domain::Timestamp::now().as_micros();
    // The test's clock and the database's are the same machine's.
    assert!((3_500_000_000..=3_600_100_000).contains(&left), "{left}");
}

async fn a_lease_that_ran_out_is_taken_in_a_new_term(db: Db) {
    let leases = db.store.leases();
    let short = Duration::from_millis(300);
    assert_eq!(
        leases
            .acquire("relay", "a", short)
            .await
            .unwrap()
            .map(|lease| lease.term),
        Some(1)
    );
    let taken = async {
        loop {
            if let Some(lease) = leases.acquire("relay", "b", LONG).await.unwrap() {
                return lease;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let lease = tokio::time::timeout(Duration::from_secs(60), taken)
        .await
        .expect("the lease runs out");
    assert_eq!(lease.term, 2);
    assert_eq!(leases.acquire("relay", "a", LONG).await.unwrap(), None);
}

async fn a_released_lease_is_free_at_once(db: Db) {
    let leases = db.store.leases();
    leases.acquire("relay", "a", LONG).await.unwrap();
    leases.release("relay", "b").await.unwrap();
    assert_eq!(leases.acquire("relay", "b", LONG).await.unwrap(), None);
    leases.release("relay", "a").await.unwrap();
    assert_eq!(
        leases
            .acquire("relay", "b", LONG)
            .await
            .unwrap()
            .map(|lease| lease.term),
        Some(2)
    );
    leases.release("relay", "b").await.unwrap();
    assert_eq!(
        leases
            .acquire("relay", "b", LONG)
            .await
            .unwrap()
            .map(|lease| lease.term),
        Some(3)
    );
}

async fn leases_of_other_names_are_independent(db: Db) {
    let leases = db.store.leases();
    assert!(leases.acquire("relay", "a", LONG).await.unwrap().is_some());
    assert!(leases.acquire("bot", "b", LONG).await.unwrap().is_some());
    assert_eq!(leases.acquire("relay", "b", LONG).await.unwrap(), None);
}
