-- The notifier's ledger: what was found, what users are to be told, what they were told.

-- Every alert that was taken from the alerts topic, one row per transition of a rule. History: rows stay when the rule
-- goes, and go with the user. (rule_id, rule_version, log_generation, quote_offset) is an alert's name, so the same alert
-- can't be stored twice.
create table alerts (
    rule_id           varchar(36) not null,
    rule_version      bigint      not null,
    log_generation    bigint      not null,
    quote_offset      bigint      not null,
    user_id           varchar(36) not null,
    ticker            varchar(32) not null,
    -- The side entered: in, above, below.
    side              varchar(8)  not null,
    price             bigint      not null,
    threshold         bigint      not null,
    currency          varchar(16) not null,
    quote_time        bigint      not null,
    quote_ingest_time bigint      not null,
    raised_at         bigint      not null,
    already_outside   integer     not null,
    primary key (rule_id, rule_version, log_generation, quote_offset)
);

-- For the list of a user's alerts, newest first.
create index alerts_by_user on alerts (user_id, raised_at);

-- The newest state known of each rule that ever alerted: the alerts topic, folded. A row stays when the price is back in
-- range, because its position is what makes an old record recognisable.
create table episodes (
    rule_id           varchar(36) not null primary key,
    user_id           varchar(36) not null,
    ticker            varchar(32) not null,
    rule_version      bigint      not null,
    log_generation    bigint      not null,
    quote_offset      bigint      not null,
    side              varchar(8)  not null,
    price             bigint      not null,
    threshold         bigint      not null,
    currency          varchar(16) not null,
    quote_time        bigint      not null,
    -- Names one stay outside the range, over jumps from side to side; null while inside.
    episode_id        varchar(36) null,
    -- Event time of the quote that began it.
    opened_at         bigint      not null,
    -- When the last message of the stay reached the user. Null: none did, or the last one could not.
    last_delivered_at bigint      null,
    -- When to look whether a reminder is due and whether the rule's state still holds; null while inside.
    check_at          bigint      null,
    -- Deliveries of one rule are planned at strictly growing times, whichever instance plans them.
    last_planned_at   bigint      not null
);

create index episodes_by_check on episodes (check_at);
create index episodes_by_user on episodes (user_id);

-- Messages to users: planned -> sending -> sent | undeliverable | superseded; sending -> planned to try again.
create table deliveries (
    id                varchar(36)  not null primary key,
    user_id           varchar(36)  not null,
    rule_id           varchar(36)  not null,
    rule_version      bigint       not null,
    log_generation    bigint       not null,
    quote_offset      bigint       not null,
    episode_id        varchar(36)  not null,
    -- breach, jump, reminder, back
    kind              varchar(16)  not null,
    status            varchar(16)  not null,
    -- A user's messages are sent in the order of (planned_at, id).
    planned_at        bigint       not null,
    due_at            bigint       not null,
    attempts          bigint       not null,
    -- Attempts of which nobody knows whether they reached the user: each may have been a copy.
    ambiguous_sends   bigint       not null,
    claimed_by        varchar(64)  null,
    claimed_at        bigint       null,
    sent_at           bigint       null,
    message_id        bigint       null,
    -- Why it was not sent, or not yet.
    reason            varchar(200) null,
    -- What the message says.
    ticker            varchar(32)  not null,
    side              varchar(8)   not null,
    price             bigint       not null,
    threshold         bigint       not null,
    currency          varchar(16)  not null,
    quote_time        bigint       not null,
    quote_ingest_time bigint       not null,
    already_outside   integer      not null,
    opened_at         bigint       not null
);

-- For claiming: what is due, what was claimed too long ago, and what else its user is waiting for.
create index deliveries_by_due on deliveries (status, due_at);
create index deliveries_by_claim on deliveries (status, claimed_at);
create index deliveries_by_user on deliveries (user_id, status, planned_at);
-- For "was the breach delivered" and "is anything of this episode still under way".
create index deliveries_by_episode on deliveries (episode_id);
-- For closing what is planned when a rule goes.
create index deliveries_by_rule on deliveries (rule_id, status);
