-- What objects count of what they hold: a webhook its deliveries, a deployment the results of its health checks, by status. Nothing is a row that is not there.
CREATE TABLE tally (
  kind TEXT NOT NULL,
  id TEXT NOT NULL,
  word TEXT NOT NULL,
  count INTEGER NOT NULL,
  PRIMARY KEY (kind, id, word)
) WITHOUT ROWID;
