-- Which key made a subscription, and when that key expires: then the subscription is switched off.
ALTER TABLE webhooks ADD COLUMN created_by TEXT;
ALTER TABLE webhooks ADD COLUMN lapses_at INTEGER;

-- The integrations that a subscription or a key is limited to, as one text, sorted; '' for all.
-- Each has a limit of its own.
ALTER TABLE webhooks ADD COLUMN scope TEXT NOT NULL DEFAULT '';
ALTER TABLE keys ADD COLUMN scope TEXT NOT NULL DEFAULT '';
ALTER TABLE keys ADD COLUMN expires_at INTEGER;

UPDATE webhooks SET scope = coalesce((SELECT group_concat(value, ' ') FROM (SELECT value FROM json_each(webhooks.integrations) ORDER BY value)), '');
UPDATE keys SET
    scope = coalesce((SELECT group_concat(value, ' ') FROM (SELECT value FROM json_each(keys.body, '$.integrations') ORDER BY value)), ''),
    -- Up to a second late: what opens something goes by the body.
    expires_at = (CAST(strftime('%s', json_extract(body, '$.expires_at')) AS INTEGER) + 1) * 1000000;

-- The audit log knows who made what. A subscription that has outlived its key already goes on.
UPDATE webhooks SET created_by = (
    SELECT json_extract(a.entry, '$.key_id') FROM audit a
    WHERE json_extract(a.entry, '$.action') = 'webhook_create' AND json_extract(a.entry, '$.subject') = webhooks.id
);
UPDATE webhooks SET lapses_at = (
    SELECT k.expires_at FROM keys k
    WHERE k.id = webhooks.created_by AND k.revoked_at IS NULL AND k.expires_at > CAST(strftime('%s', 'now') AS INTEGER) * 1000000
);

CREATE INDEX webhooks_maker ON webhooks (created_by) WHERE created_by IS NOT NULL;
CREATE INDEX webhooks_lapse ON webhooks (lapses_at) WHERE lapses_at IS NOT NULL;
CREATE INDEX webhooks_scope ON webhooks (substr(scope, 1, 200));
CREATE INDEX keys_scope ON keys (substr(scope, 1, 200));
