-- For readers that follow a user's alerts and go on where they were.

-- When an alert was raised, or which row came first, does not tell what a reader has seen: a transaction commits after a
-- younger one, and its alerts appear behind the reader. So an alert gets its place in the stream after it was committed, by
-- whoever follows it first, with the user's row locked: who has read up to a number has read everything below it.
-- Null: nobody has asked yet.
alter table alerts add column stream_number bigint null;
create index alerts_by_number on alerts (user_id, stream_number);

-- The highest number given to an alert of this user.
alter table users add column alerts_numbered bigint not null default 0;
