-- Manifests that were accepted before these fields were known have their defaults.
UPDATE deployment SET identity = json_set(identity, '$.manifest.health_checks', json('[]'), '$.manifest.max_surge', 1,
  '$.manifest.max_unavailable', 0, '$.manifest.rollout_deadline', '600s', '$.manifest.on_deadline', 'drain', '$.manifest.retries', 0);
-- What the health checks of its instances came to, newest last.
CREATE TABLE health_result (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  at INTEGER NOT NULL,
  body TEXT NOT NULL
);
