CREATE TABLE host (
  one INTEGER PRIMARY KEY CHECK (one = 1),
  status TEXT NOT NULL CHECK (status IN ('joining', 'syncing', 'ready', 'unreachable', 'lost', 'removed')),
  state TEXT NOT NULL,
  identity TEXT NOT NULL,
  -- What the agent said of itself at its last hello.
  profile TEXT NOT NULL,
  revision INTEGER NOT NULL,
  -- Counts what the index must hear of: also changes that are no new revision, such as of what is reserved.
  version INTEGER NOT NULL DEFAULT 0,
  -- Sums over `workload`, kept in step by the one statement that writes it.
  memory_reserved INTEGER NOT NULL DEFAULT 0,
  cpu_reserved INTEGER NOT NULL DEFAULT 0,
  workloads INTEGER NOT NULL DEFAULT 0,
  -- Counts every change of what should run here.
  desired_revision INTEGER NOT NULL DEFAULT 0,
  updated_at INTEGER NOT NULL
);
-- When a frame last came by `call`; a tunnel's heartbeats are counted by the platform.
CREATE TABLE seen (one INTEGER PRIMARY KEY CHECK (one = 1), at INTEGER NOT NULL);
CREATE TABLE workload (
  id TEXT PRIMARY KEY,
  generation INTEGER NOT NULL,
  owner TEXT NOT NULL,
  want TEXT NOT NULL CHECK (want IN ('running', 'gone')),
  spec TEXT,
  -- The newest that the agent saw of this generation.
  observation TEXT,
  memory INTEGER NOT NULL,
  cpu INTEGER NOT NULL,
  -- Published ports, as "port/protocol" separated by spaces, with one at each end.
  ports TEXT NOT NULL,
  -- 1: the agent has not been sent this row as it is now.
  unsent INTEGER NOT NULL,
  -- 1: the owner has not been told the observation as it is now.
  untold INTEGER NOT NULL,
  at INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX unsent ON workload (unsent) WHERE unsent = 1;
CREATE INDEX untold ON workload (owner) WHERE untold = 1;
