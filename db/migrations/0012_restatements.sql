-- Prices that are counted anew (a split, another unit), and the rules that wait for their owners because of it.

create table restatements (
    ticker      varchar(32) not null,
    -- When it was known; rules that were last changed before are on hold.
    restated_at bigint      not null,
    -- The last price before, and the first one after.
    from_price  bigint      not null,
    to_price    bigint      not null,
    -- So many new shares for so many old ones; null, both: thresholds can't be converted.
    new_shares  bigint      null,
    old_shares  bigint      null,
    -- When the first price after it was made.
    event_time  bigint      not null,
    -- How often all rules from before were looked through, and when the last look ended. A second look comes a minute
    -- after the first: it finds what a slow transaction wrote, or a server whose clock is behind.
    looks       integer     not null,
    looked_at   bigint      null,
    primary key (ticker, restated_at)
);
-- For the recent ones, and for those that are to be looked at again.
create index restatements_by_time on restatements (restated_at);
create index restatements_by_looks on restatements (looks, looked_at);

-- The first restatement that the rule's owner has not answered: on hold since. Null: not on hold.
alter table rules add column restated_at bigint null;
-- A ticker's rules, owner by owner.
create index rules_by_ticker on rules (ticker, user_id, id);
