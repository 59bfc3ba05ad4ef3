-- Where its queries go on its host, as its host was last told.
CREATE TABLE route (
  one INTEGER PRIMARY KEY CHECK (one = 1),
  -- Only rises, also when the route goes and comes back.
  generation INTEGER NOT NULL,
  host_id TEXT,
  body TEXT NOT NULL,
  -- Where the host's proxy answers, as last heard; 0: it was not heard since the route moved.
  address TEXT,
  is_up INTEGER NOT NULL
);
-- Hosts on which a former one has still to go.
CREATE TABLE route_leaving (host_id TEXT PRIMARY KEY, generation INTEGER NOT NULL) WITHOUT ROWID;
