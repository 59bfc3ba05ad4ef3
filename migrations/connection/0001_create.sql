CREATE TABLE connection (
  one INTEGER PRIMARY KEY CHECK (one = 1),
  identity TEXT NOT NULL,
  spec TEXT NOT NULL,
  -- Sealed.
  password TEXT NOT NULL,
  state TEXT NOT NULL,
  revision INTEGER NOT NULL,
  updated_at INTEGER NOT NULL,
  deleted_at INTEGER
);
-- The instances that read through it, and which schema each of them reads.
CREATE TABLE attached (instance_id TEXT PRIMARY KEY, schema TEXT NOT NULL, at INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE tombstone (one INTEGER PRIMARY KEY CHECK (one = 1), purged_at INTEGER NOT NULL);
