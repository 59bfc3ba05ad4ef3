CREATE TABLE deployment (
  one INTEGER PRIMARY KEY CHECK (one = 1),
  namespace TEXT NOT NULL,
  status TEXT NOT NULL CHECK (status IN (
    'pending', 'creating', 'running', 'completed', 'deleted', 'failed', 'crash_loop_back_off', 'insufficient_resources',
    'image_pull_back_off', 'create_container_error', 'network_error', 'config_error', 'file_system_error', 'error')),
  state TEXT NOT NULL,
  identity TEXT NOT NULL,
  -- The answer of GET, made once per change: reading parses nothing.
  view TEXT NOT NULL,
  revision INTEGER NOT NULL,
  -- Outlives the state that used it: a generation is never drawn twice.
  generation INTEGER NOT NULL,
  updated_at INTEGER NOT NULL
);
-- Left behind by a purge, until no late message can come any more.
CREATE TABLE tombstone (one INTEGER PRIMARY KEY CHECK (one = 1), purged_at INTEGER NOT NULL);
