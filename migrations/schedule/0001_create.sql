CREATE TABLE schedule (
  one INTEGER PRIMARY KEY CHECK (one = 1),
  namespace TEXT NOT NULL,
  status TEXT NOT NULL CHECK (status IN ('waiting', 'running', 'suspended', 'deleted')),
  identity TEXT NOT NULL,
  spec TEXT NOT NULL,
  state TEXT NOT NULL,
  -- The answer of GET, made once per change: reading parses nothing.
  view TEXT NOT NULL,
  revision INTEGER NOT NULL,
  updated_at INTEGER NOT NULL
);
-- Left behind by a purge, until no late message can come any more.
CREATE TABLE tombstone (one INTEGER PRIMARY KEY CHECK (one = 1), purged_at INTEGER NOT NULL);
