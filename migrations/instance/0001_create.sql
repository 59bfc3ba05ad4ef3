CREATE TABLE instance (
  one INTEGER PRIMARY KEY CHECK (one = 1),
  identity TEXT NOT NULL,
  spec TEXT NOT NULL,
  state TEXT NOT NULL,
  revision INTEGER NOT NULL,
  updated_at INTEGER NOT NULL,
  -- Set when it was deleted: what is left is to be told to others, then it is forgotten.
  deleted_at INTEGER
);
-- What the engine's keys are made with, sealed.
CREATE TABLE key_secret (one INTEGER PRIMARY KEY CHECK (one = 1), sealed TEXT NOT NULL);
CREATE TABLE api_key (id TEXT PRIMARY KEY, body TEXT NOT NULL) WITHOUT ROWID;
-- What the engine last said of itself. It changes all the time, and is no part of the revision.
CREATE TABLE vitals (
  one INTEGER PRIMARY KEY CHECK (one = 1),
  generation INTEGER NOT NULL,
  body TEXT NOT NULL,
  at INTEGER NOT NULL,
  busy_at INTEGER
);
CREATE TABLE build (
  number INTEGER PRIMARY KEY AUTOINCREMENT,
  id TEXT NOT NULL UNIQUE,
  body TEXT NOT NULL
);
-- Artifacts by their hash: builds of the same input share one. In the parts in which builders send them; one that lacks a part is not kept.
CREATE TABLE artifact (
  hash TEXT NOT NULL,
  part INTEGER NOT NULL,
  parts INTEGER NOT NULL,
  text TEXT NOT NULL,
  PRIMARY KEY (hash, part)
) WITHOUT ROWID;
CREATE TABLE tombstone (one INTEGER PRIMARY KEY CHECK (one = 1), purged_at INTEGER NOT NULL);
