CREATE TABLE hook (
  one INTEGER PRIMARY KEY CHECK (one = 1),
  config TEXT NOT NULL,
  -- The secret, sealed.
  sealed TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  revision INTEGER NOT NULL,
  -- Kept for a day after that, so that repeated requests are answered the same.
  deleted_at INTEGER
);
-- Calls that were verified. The same id, or the same body under another id, is the same delivery.
CREATE TABLE delivery (
  number INTEGER PRIMARY KEY AUTOINCREMENT,
  id TEXT NOT NULL UNIQUE,
  digest TEXT NOT NULL UNIQUE,
  at INTEGER NOT NULL,
  outcome TEXT NOT NULL CHECK (outcome IN ('pending', 'applied', 'unchanged', 'ignored', 'failed')),
  message TEXT NOT NULL,
  -- What was pushed, until it is applied.
  push TEXT,
  image TEXT,
  deployment_id TEXT
);
