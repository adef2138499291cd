-- For who replaces a token and never gets the answer.

-- A token that was replaced, for some minutes: it lets in to nothing but the very request that replaced it, whose repeat
-- answers a fresh token.
create table replaced_tokens (
    token_hash   varchar(64) not null primary key,
    user_id      varchar(36) not null,
    -- As `key_hash` in `requests`: of the request that replaced it.
    request_hash varchar(64) not null,
    replaced_at  bigint      not null,
    foreign key (user_id) references users (id)
);
create index replaced_tokens_user_id on replaced_tokens (user_id);
create index replaced_tokens_replaced_at on replaced_tokens (replaced_at);

-- `key_hash` in `requests` of the registration, whose repeat answers fresh secrets until these are replaced another way.
alter table users add column registration_request varchar(64) null;
