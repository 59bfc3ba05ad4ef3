-- One token. The secret itself is nowhere: only its hash, and (for a day, after a request with an Idempotency-Key) the secret encrypted
-- under what only the caller knows.
CREATE TABLE token (
  one INTEGER PRIMARY KEY CHECK (one = 1),
  name TEXT NOT NULL,
  hash TEXT NOT NULL,
  scopes TEXT NOT NULL,
  namespaces TEXT NOT NULL,
  labels TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  expires_at INTEGER,
  last_used_at INTEGER,
  revoked_at INTEGER,
  uses_left INTEGER,
  revision INTEGER NOT NULL,
  -- Rises with every projection; the revision does not, when only the last use is noted.
  version INTEGER NOT NULL
);
-- Hosts that joined with it, by the public key that they showed: the same host asking again is not a second use.
CREATE TABLE joined (
  public_key TEXT PRIMARY KEY,
  host_id TEXT NOT NULL,
  at INTEGER NOT NULL
) WITHOUT ROWID;
-- Tokens that this one created with an Idempotency-Key: the new id has to be known before its object exists.
CREATE TABLE creation (
  key TEXT PRIMARY KEY,
  fingerprint TEXT NOT NULL,
  token_id TEXT NOT NULL,
  at INTEGER NOT NULL
) WITHOUT ROWID;
-- Only in the object named `root`: the key of the marks by which the Worker tells what was made here from what was made up.
CREATE TABLE mint (
  one INTEGER PRIMARY KEY CHECK (one = 1),
  key TEXT NOT NULL
);
