-- What engines log in with: made with the first connection to this database, and forgotten with the last.
CREATE TABLE reader_role (
  one INTEGER PRIMARY KEY CHECK (one = 1),
  credential TEXT NOT NULL,
  verifier TEXT NOT NULL,
  -- Sealed.
  password TEXT NOT NULL
);
-- The connections that lead here.
CREATE TABLE reader_connection (id TEXT PRIMARY KEY, at INTEGER NOT NULL) WITHOUT ROWID;
-- Connections and instances that want something of it: to be told when it wakes and sleeps, and, with a reason, that it is awake.
CREATE TABLE reader (
  holder TEXT PRIMARY KEY,
  follows INTEGER NOT NULL,
  reason TEXT,
  since INTEGER NOT NULL,
  -- When whoever keeps it awake is asked whether that still holds.
  check_at INTEGER NOT NULL
) WITHOUT ROWID;
