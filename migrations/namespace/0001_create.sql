-- Which deployment holds a name. It may be deleted already and on its way out; a newer one takes over.
CREATE TABLE claim (
  name TEXT PRIMARY KEY,
  deployment_id TEXT NOT NULL
) WITHOUT ROWID;
-- Deployments that were decided on here, and that their own objects may not know of yet.
CREATE TABLE creation (
  deployment_id TEXT PRIMARY KEY,
  identity TEXT NOT NULL,
  actor TEXT NOT NULL,
  request_id TEXT NOT NULL
) WITHOUT ROWID;
-- Deployments that lost their name to a newer one, and must be deleted.
CREATE TABLE replacement (
  deployment_id TEXT PRIMARY KEY,
  by_id TEXT NOT NULL,
  actor TEXT NOT NULL,
  request_id TEXT NOT NULL
) WITHOUT ROWID;
