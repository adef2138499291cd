-- What instances agree on.

-- Who leads what. By the database's clock, so that instances need not agree on the time.
create table leases (
    name       varchar(64)  not null primary key,
    -- Empty: nobody.
    holder     varchar(128) not null,
    -- Grows with each change of holder.
    term       bigint       not null,
    expires_at bigint       not null
);

-- Answers of commands that came with a request id, for 24 hours: a repeated command gets the same one.
create table requests (
    -- SHA-256 of the caller and the request id.
    key_hash    varchar(64) not null primary key,
    -- SHA-256 of the request's body.
    fingerprint varchar(64) not null,
    -- Whose answer this is: it goes with the user. Empty only within the transaction that makes the row.
    user_id     varchar(36) not null,
    -- JSON. No secrets, no e-mail addresses.
    response    mediumtext  not null,
    created_at  bigint      not null
);
create index requests_created_at on requests (created_at);
create index requests_user_id on requests (user_id);

-- Small facts that services tell one another, such as the bot's user name.
create table service_state (
    name  varchar(64)  not null primary key,
    value varchar(500) not null
);
