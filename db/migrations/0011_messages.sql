-- What users chose about their messages, and what the notifier keeps to send them well.

-- Chosen with /lang; null: as the messenger says.
alter table users add column language varchar(8) null;
-- As the messenger last said; null: it said nothing that is known here.
alter table users add column messenger_language varchar(8) null;
-- IANA name: times are shown in it, and the quiet hours are meant in it.
alter table users add column time_zone varchar(64) not null default 'UTC';
-- Minutes since midnight; both or neither. From > to: over midnight.
alter table users add column quiet_from integer null;
alter table users add column quiet_to integer null;
-- Since when no message reaches the user: they blocked the bot, or let go of their chat; null: the chat takes them, or
-- there never was one.
alter table users add column chat_suspended_at bigint null;
-- No message to the chat before this: its pace, and the messenger's "too many requests".
alter table users add column chat_next_at bigint not null default 0;

-- Holds messages of the rule back until then; not a change of the rule, so its version stays.
alter table rules add column snoozed_until bigint null;
-- 1: until the price is back in range.
alter table rules add column snoozed_until_back integer not null default 0;

-- For the marks in a chart.
create index alerts_by_user_ticker on alerts (user_id, ticker, quote_time);

-- The side that the user was last told of, and of which stay outside; null: told that the price is back, or nothing.
alter table episodes add column told_side varchar(8) not null default 'in';
alter table episodes add column told_episode varchar(36) null;
-- Of the message that told of that stay: reminders and the return answer to it.
alter table episodes add column message_id bigint null;
-- For what is to be said of a ticker whose prices stopped.
create index episodes_by_ticker on episodes (ticker);
update episodes set told_side = side, told_episode = episode_id
    where episode_id is not null and exists (
        select 1 from deliveries d
        where d.episode_id = episodes.episode_id and d.kind in ('breach', 'jump') and d.status = 'sent');

-- 0: first. Messages of all users are sent in the order of (priority, due_at).
alter table deliveries add column priority integer not null default 0;
-- The message that it is sent in, alone or with others of the same user; a new one for each claim, but not for the
-- repetition of a claim that ran out.
alter table deliveries add column message_key varchar(36) null;
-- When the first try that was in vain ended: it is given up so long after this.
alter table deliveries add column tried_since bigint null;
-- Why it waits or waited: quiet, snooze, flapping.
alter table deliveries add column held varchar(16) null;
create index deliveries_by_priority on deliveries (status, priority, due_at, user_id);
create index deliveries_by_message on deliveries (message_key);
-- For how much was said of a rule lately.
create index deliveries_by_rule_time on deliveries (rule_id, status, sent_at);
update deliveries set priority = case kind when 'back' then 1 when 'reminder' then 2 else 0 end where status = 'planned';
update deliveries set message_key = id where status = 'sending';

-- When the messenger's overall limit lets the next message go, by the database's clock. One row per messenger: instances
-- share one stream.
create table pacing (
    name    varchar(64) not null primary key,
    next_at bigint      not null
);
insert into pacing (name, next_at) values ('telegram', 0);

-- What data collectors say of their providers.
create table feeds (
    provider        varchar(32)  not null,
    instance        varchar(64)  not null,
    -- closed, open, half-open
    breaker         varchar(16)  not null,
    -- Why it is not closed.
    reason          varchar(200) null,
    tickers         bigint       not null,
    last_success_at bigint       null,
    updated_at      bigint       not null,
    primary key (provider, instance)
);

-- What data collectors say of tickers whose prices stopped coming while their market is open.
create table stale_tickers (
    ticker      varchar(32) not null primary key,
    -- Null: prices come (again).
    stale_since bigint      null,
    -- Names one time without prices; notices about it have it as their episode_id.
    period      varchar(36) null,
    -- Of the newest word on the ticker: older ones change nothing.
    updated_at  bigint      not null
);
create index stale_tickers_by_since on stale_tickers (stale_since);
