-- The namespace itself. Without a row it does not exist, though it may have been asked about.
CREATE TABLE namespace (
  one INTEGER PRIMARY KEY CHECK (one = 1),
  id TEXT NOT NULL,
  created_at INTEGER NOT NULL
);
-- Configs, secrets and volumes. What a secret holds is sealed.
CREATE TABLE resource (
  id TEXT PRIMARY KEY,
  kind TEXT NOT NULL CHECK (kind IN ('config', 'secret', 'volume')),
  name TEXT NOT NULL,
  content TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  updated_at INTEGER,
  revision INTEGER NOT NULL
);
CREATE UNIQUE INDEX resource_by_name ON resource (kind, name);
-- What was deleted, until the lists have been told.
CREATE TABLE departed (
  id TEXT PRIMARY KEY,
  kind TEXT NOT NULL,
  name TEXT NOT NULL,
  revision INTEGER NOT NULL
) WITHOUT ROWID;
-- What the deployments of this namespace name in their manifests.
CREATE TABLE reference (
  deployment_id TEXT NOT NULL,
  kind TEXT NOT NULL,
  name TEXT NOT NULL,
  deployment_name TEXT NOT NULL,
  PRIMARY KEY (deployment_id, kind, name)
) WITHOUT ROWID;
-- Deployments that were told that one of these is missing, or not as they need it: they are told when it is made or changed.
CREATE TABLE awaited (
  kind TEXT NOT NULL,
  name TEXT NOT NULL,
  deployment_id TEXT NOT NULL,
  PRIMARY KEY (kind, name, deployment_id)
) WITHOUT ROWID;
-- Which version of each reference a deployment's instances were given, as a JSON object.
CREATE TABLE resolved (
  deployment_id TEXT PRIMARY KEY,
  versions TEXT NOT NULL
) WITHOUT ROWID;
