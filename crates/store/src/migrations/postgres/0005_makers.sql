-- Which key made a subscription, and when that key expires: then the subscription is switched off.
ALTER TABLE webhooks ADD COLUMN created_by TEXT COLLATE "C";
ALTER TABLE webhooks ADD COLUMN lapses_at BIGINT;

-- The integrations that a subscription or a key is limited to, as one text, sorted; '' for all.
-- Each has a limit of its own.
ALTER TABLE webhooks ADD COLUMN scope TEXT COLLATE "C" NOT NULL DEFAULT '';
ALTER TABLE keys ADD COLUMN scope TEXT COLLATE "C" NOT NULL DEFAULT '';
ALTER TABLE keys ADD COLUMN expires_at BIGINT;

UPDATE webhooks SET scope = coalesce((
    SELECT string_agg(one.id, ' ' ORDER BY one.id COLLATE "C") FROM jsonb_array_elements_text(CAST(webhooks.integrations AS jsonb)) AS one (id)
), '') WHERE integrations IS NOT NULL;
UPDATE keys SET scope = coalesce((
    SELECT string_agg(one.id, ' ' ORDER BY one.id COLLATE "C") FROM jsonb_array_elements_text(CAST(keys.body AS jsonb) -> 'integrations') AS one (id)
), '') WHERE jsonb_typeof(CAST(body AS jsonb) -> 'integrations') = 'array';
-- Up to a second late: what opens something goes by the body.
UPDATE keys SET expires_at = (CAST(floor(extract(epoch FROM CAST(CAST(body AS jsonb) ->> 'expires_at' AS timestamptz))) AS BIGINT) + 1) * 1000000
WHERE CAST(body AS jsonb) ->> 'expires_at' IS NOT NULL;

-- The audit log knows who made what. A subscription that has outlived its key already goes on.
UPDATE webhooks SET created_by = made.key_id FROM (
    SELECT substring(entry FROM '"subject":"([a-z0-9_]+)"') AS webhook, substring(entry FROM '"key_id":"([a-z0-9_]+)"') AS key_id
    FROM audit WHERE entry LIKE '%"action":"webhook_create"%'
) AS made WHERE made.webhook = webhooks.id;
UPDATE webhooks SET lapses_at = k.expires_at FROM keys k
WHERE k.id = webhooks.created_by AND k.revoked_at IS NULL AND k.expires_at > CAST(extract(epoch FROM now()) AS BIGINT) * 1000000;

CREATE INDEX webhooks_maker ON webhooks (created_by) WHERE created_by IS NOT NULL;
CREATE INDEX webhooks_lapse ON webhooks (lapses_at) WHERE lapses_at IS NOT NULL;
CREATE INDEX webhooks_scope ON webhooks (substr(scope, 1, 200));
CREATE INDEX keys_scope ON keys (substr(scope, 1, 200));
