-- The builds that wait for their turn or have it. `number` is the order in which they came.
CREATE TABLE ticket (
  number INTEGER PRIMARY KEY AUTOINCREMENT,
  build_id TEXT NOT NULL UNIQUE,
  instance_id TEXT NOT NULL,
  namespace TEXT NOT NULL,
  queued_at INTEGER NOT NULL,
  -- When its turn came, and until when that is believed without asking; null while it waits.
  admitted_at INTEGER,
  check_at INTEGER
);
-- When each namespace last had a turn: the one that has waited longest is next.
CREATE TABLE turn (namespace TEXT PRIMARY KEY, number INTEGER NOT NULL) WITHOUT ROWID;
