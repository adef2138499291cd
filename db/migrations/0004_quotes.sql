-- The read model of prices.

create table quotes (
    ticker       varchar(32) not null,
    event_time   bigint      not null,
    -- In the quotes topic: tells quotes of the same moment apart, and makes a repeated insert harmless.
    quote_offset bigint      not null,
    price        bigint      not null,
    -- As the source spells it; empty: not known.
    currency     varchar(16) not null,
    volume       bigint      null,
    -- 'buy' or 'sell'.
    trade_side   varchar(4)  null,
    ingest_time  bigint      not null,
    source       varchar(32) not null,
    primary key (ticker, event_time, quote_offset)
);

-- The quote with the newest (event_time, quote_offset) of each ticker.
create table latest_quotes (
    ticker       varchar(32) not null primary key,
    event_time   bigint      not null,
    quote_offset bigint      not null,
    price        bigint      not null,
    currency     varchar(16) not null,
    volume       bigint      null,
    trade_side   varchar(4)  null,
    ingest_time  bigint      not null,
    source       varchar(32) not null
);
