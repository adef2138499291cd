-- Ranges of prices, and their changes on the way to the log.

create table rules (
    -- UUIDv7, so that ids grow with time: lists are in the order of ids. An id is never used again.
    id         varchar(36)  not null primary key,
    user_id    varchar(36)  not null,
    ticker     varchar(32)  not null,
    -- At least one of the two is set, and low < high; the program sees to it.
    low        bigint       null,
    high       bigint       null,
    note       varchar(500) not null,
    paused     integer      not null,
    -- Set by the system once expires_at has passed.
    expired    integer      not null,
    expires_at bigint       null,
    -- Counts the rule's changes, from 1.
    version    bigint       not null,
    created_at bigint       not null,
    -- Strictly grows with the version, whatever the clocks of the servers that write it.
    updated_at bigint       not null,
    foreign key (user_id) references users (id)
);
create index rules_user_id on rules (user_id, id);
-- For the sweep that finds rules whose time has passed.
create index rules_expiry on rules (expired, expires_at);

-- A row for each change of a rule, written in the change's own transaction, deleted once the log has acknowledged it.
create table outbox (
    rule_id    varchar(36) not null,
    version    bigint      not null,
    user_id    varchar(36) not null,
    ticker     varchar(32) not null,
    low        bigint      null,
    high       bigint      null,
    -- Neither paused nor expired.
    active     integer     not null,
    expires_at bigint      null,
    -- The rule's updated_at. Published in this order, a rule's versions come in order.
    updated_at bigint      not null,
    -- 1: the rule is gone, and the columns above but ticker mean nothing.
    deleted    integer     not null,
    primary key (rule_id, version)
);
create index outbox_updated_at on outbox (updated_at, rule_id);

-- One row. Which log the rules are published into: the generation grows when a lost log is built anew, where offsets
-- start again from 0.
create table log_state (
    id         integer not null primary key,
    generation bigint  not null,
    started_at bigint  not null
);
insert into log_state (id, generation, started_at) values (1, 1, 0);
