-- One row. How many times an API token was taken away: while it stays the same, every token that a server has seen to be good
-- still is.
create table token_revocations (
    id     integer not null primary key,
    number bigint  not null
);
insert into token_revocations (id, number) values (1, 0);
