-- For the list of a user's deliveries, newest first: without it, each page sorts all that the user was ever told. (None
-- like it for one rule's: the search for what is due would take it, and read all that was told of the rule.)
create index deliveries_by_user_time on deliveries (user_id, planned_at, id);
