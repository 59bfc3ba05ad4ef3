-- What objects told of themselves. A row without a body is a tombstone: it keeps a late projection from bringing a gone resource back.
CREATE TABLE entry (
  kind TEXT NOT NULL,
  id TEXT NOT NULL,
  namespace TEXT,
  name TEXT NOT NULL,
  status TEXT NOT NULL,
  type TEXT NOT NULL,
  labels TEXT NOT NULL,
  version INTEGER NOT NULL,
  gone_at INTEGER,
  -- Only in a passing status: when to look after it, and how long to wait after that.
  poke_at INTEGER,
  poke_after INTEGER,
  body TEXT
);
CREATE UNIQUE INDEX entry_by_id ON entry (kind, id);
CREATE INDEX entry_by_name ON entry (kind, name);
CREATE INDEX entry_to_poke ON entry (poke_at) WHERE poke_at IS NOT NULL;
CREATE INDEX entry_gone ON entry (gone_at) WHERE gone_at IS NOT NULL;
-- The key is the time and then the entry's id: it sorts, it is the cursor, and a repeated entry falls on itself.
CREATE TABLE trail (
  key TEXT PRIMARY KEY,
  namespace TEXT,
  resource_id TEXT NOT NULL,
  actor TEXT NOT NULL,
  body TEXT NOT NULL
) WITHOUT ROWID;
-- Deployments that no host had room for. `called`: room may have come, and it is to be told so.
CREATE TABLE waiting (
  deployment_id TEXT PRIMARY KEY,
  called INTEGER NOT NULL
) WITHOUT ROWID;
