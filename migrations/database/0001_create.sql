CREATE TABLE database (
  one INTEGER PRIMARY KEY CHECK (one = 1),
  status TEXT NOT NULL CHECK (status IN ('creating', 'booting', 'ready', 'stopping', 'stopped', 'deleting', 'error')),
  identity TEXT NOT NULL,
  settings TEXT NOT NULL,
  -- Which keepers have its log, and how many of them acknowledge a commit; null until it is prepared.
  keeping TEXT,
  -- What its writers and its keepers know each other by, sealed.
  replication_password TEXT,
  state TEXT NOT NULL,
  revision INTEGER NOT NULL,
  updated_at INTEGER NOT NULL
);
-- The passwords that are valid, as verifiers; the newest is the one that PostgreSQL is to have.
CREATE TABLE credential (
  id TEXT PRIMARY KEY,
  verifier TEXT NOT NULL,
  bridge TEXT,
  created_at INTEGER NOT NULL
);
CREATE TABLE scram (one INTEGER PRIMARY KEY CHECK (one = 1), salt TEXT NOT NULL, iterations INTEGER NOT NULL);
-- What each run of a gateway last said; the newest replaces all older.
CREATE TABLE lease (
  boot_id TEXT PRIMARY KEY,
  gateway TEXT NOT NULL,
  since INTEGER NOT NULL,
  renewed_at INTEGER NOT NULL,
  expires_at INTEGER NOT NULL,
  sessions INTEGER NOT NULL,
  in_transaction INTEGER NOT NULL,
  waiting INTEGER NOT NULL,
  clients TEXT NOT NULL
);
-- When a client was last there.
CREATE TABLE activity (one INTEGER PRIMARY KEY CHECK (one = 1), at INTEGER NOT NULL);
-- Left behind by a purge, until no late message can come any more.
CREATE TABLE tombstone (one INTEGER PRIMARY KEY CHECK (one = 1), purged_at INTEGER NOT NULL);
