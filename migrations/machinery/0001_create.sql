-- What every kind of object has: its journal, timers, outbox, answered requests, and audit entries on their way to the index.
CREATE TABLE journal (
  seq INTEGER PRIMARY KEY,
  at INTEGER NOT NULL,
  level TEXT NOT NULL,
  body TEXT NOT NULL
);
CREATE TABLE timer (
  name TEXT PRIMARY KEY,
  due_at INTEGER NOT NULL
) WITHOUT ROWID;
-- One row per subject: a second letter about the same subject replaces the first, with a new version.
CREATE TABLE outbox (
  key TEXT PRIMARY KEY,
  version INTEGER NOT NULL,
  due_at INTEGER NOT NULL,
  attempts INTEGER NOT NULL DEFAULT 0,
  last_error TEXT
) WITHOUT ROWID;
CREATE TABLE request (
  key TEXT PRIMARY KEY,
  fingerprint TEXT NOT NULL,
  answer TEXT NOT NULL,
  expires_at INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE audit (
  seq INTEGER PRIMARY KEY,
  body TEXT NOT NULL
);
