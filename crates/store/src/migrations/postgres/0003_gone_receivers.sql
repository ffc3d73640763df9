-- Since when a receiver says that it is gone, in answers with a body, and has taken nothing.
ALTER TABLE webhooks ADD COLUMN gone_since BIGINT;
