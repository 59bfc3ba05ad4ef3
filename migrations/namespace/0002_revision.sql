-- The manifests that were applied to a name, with what came of them.
CREATE TABLE revision (
  name TEXT NOT NULL,
  number INTEGER NOT NULL,
  deployment_id TEXT NOT NULL,
  manifest TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  actor TEXT NOT NULL,
  cause TEXT NOT NULL,
  outcome TEXT NOT NULL,
  message TEXT NOT NULL,
  PRIMARY KEY (name, number)
) WITHOUT ROWID;
-- Versions whose update failed: they have lost the name, and stay for their logs until another is applied to it.
CREATE TABLE leftover (
  deployment_id TEXT PRIMARY KEY,
  name TEXT NOT NULL
) WITHOUT ROWID;
-- Changes in place that were decided on here, and that the deployment may not know of yet.
CREATE TABLE amendment (
  deployment_id TEXT PRIMARY KEY,
  manifest TEXT NOT NULL,
  actor TEXT NOT NULL,
  request_id TEXT NOT NULL
) WITHOUT ROWID;
ALTER TABLE replacement ADD COLUMN why TEXT;
-- Manifests that were accepted before these fields were known have their defaults.
UPDATE creation SET identity = json_set(identity, '$.manifest.health_checks', json('[]'), '$.manifest.max_surge', 1,
  '$.manifest.max_unavailable', 0, '$.manifest.rollout_deadline', '600s', '$.manifest.on_deadline', 'drain', '$.manifest.retries', 0);
