-- The last lines of engines that failed, taken from their hosts before nothing of them was left there. LogLine[], JSON; `tail`: the very last ones, short.
CREATE TABLE engine_log (
  generation INTEGER PRIMARY KEY,
  build_id TEXT,
  at INTEGER NOT NULL,
  lines TEXT NOT NULL,
  tail TEXT NOT NULL
);
