-- Due times, leases, paces and pauses are instants of steady time, which does not jump when the
-- machine's clock is set. One row says how steady time and wall time stand to each other.
CREATE TABLE clock (
    one          INTEGER PRIMARY KEY CHECK (one = 1),
    revision     INTEGER NOT NULL,       -- grows with each change but those of the two noted times
    apart_micros INTEGER NOT NULL,       -- wall time less steady time
    ahead_micros INTEGER NOT NULL,       -- how far the clock was set ahead without a confirmation
    ahead_until  INTEGER NOT NULL,       -- steady time at which that counts as confirmed
    noted_at     INTEGER NOT NULL,       -- wall time at one of the last commits; 0 when never noted
    noted_steady INTEGER NOT NULL,       -- steady time at the same moment
    boot         TEXT NOT NULL,          -- the boot of the machine that wrote the next column
    boot_micros  INTEGER NOT NULL        -- steady time when that machine was started
);
INSERT INTO clock VALUES (1, 0, 0, 0, 0, 0, 0, '', 0);

-- When a write or a delivery was queued, in steady time: its age. 0 in rows of before.
ALTER TABLE queue ADD COLUMN queued_at INTEGER NOT NULL DEFAULT 0;
ALTER TABLE deliveries ADD COLUMN queued_at INTEGER NOT NULL DEFAULT 0;
