-- Who uses the system, and the secrets that let them in. Secrets are stored as SHA-256 only.
--
-- These files are read by MySQL, MariaDB and SQLite alike: ids are UUID text made by the program, times are
-- microseconds since the epoch (UTC), prices units of 1e-8, flags 0 or 1, enumerations short lower-case words. No
-- boolean, datetime or decimal columns, no auto-increment, no inline indexes.

create table users (
    id                     varchar(36)  not null primary key,
    -- Lower case.
    email                  varchar(254) not null,
    -- The linked Telegram chat; a chat belongs to one user at most.
    chat_id                bigint       null,
    -- Null: no reminders.
    reminder_interval_secs bigint       null,
    created_at             bigint       not null,
    updated_at             bigint       not null
);
create unique index users_email on users (email);
create unique index users_chat_id on users (chat_id);

create table api_tokens (
    token_hash varchar(64) not null primary key,
    user_id    varchar(36) not null,
    created_at bigint      not null,
    foreign key (user_id) references users (id)
);
create index api_tokens_user_id on api_tokens (user_id);

-- One-time tokens that link a Telegram chat; a row goes when it is used.
create table link_tokens (
    token_hash varchar(64) not null primary key,
    user_id    varchar(36) not null,
    expires_at bigint      not null,
    foreign key (user_id) references users (id)
);
create index link_tokens_user_id on link_tokens (user_id);
create index link_tokens_expires_at on link_tokens (expires_at);
