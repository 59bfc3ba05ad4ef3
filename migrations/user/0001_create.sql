CREATE TABLE user (
  id TEXT PRIMARY KEY,
  -- Null when the user was deleted, and the lists have still to be told.
  username TEXT COLLATE NOCASE,
  role TEXT NOT NULL,
  -- Argon2id in the PHC string format: parameters, salt, hash.
  password TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  updated_at INTEGER,
  login_at INTEGER,
  revision INTEGER NOT NULL,
  -- Rises with every projection; the revision does not, when somebody only logs in.
  version INTEGER NOT NULL
) WITHOUT ROWID;
CREATE UNIQUE INDEX user_by_name ON user (username) WHERE username IS NOT NULL;
-- Sessions, and tokens made with them: what ends when the user's role does. `ending`: the token has still to be told.
CREATE TABLE credential (
  token_id TEXT PRIMARY KEY,
  user_id TEXT NOT NULL,
  session INTEGER NOT NULL,
  expires_at INTEGER,
  ending INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE INDEX credential_by_user ON credential (user_id);
CREATE INDEX credential_by_expiry ON credential (expires_at) WHERE expires_at IS NOT NULL;
-- Failed logins, by what is slowed down: a username, a client's address, a user at an address that the user has logged in from.
CREATE TABLE attempt (
  subject TEXT PRIMARY KEY,
  failures INTEGER NOT NULL,
  at INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX attempt_by_time ON attempt (at);
CREATE TABLE familiar (
  user_id TEXT NOT NULL,
  address TEXT NOT NULL,
  at INTEGER NOT NULL,
  PRIMARY KEY (user_id, address)
) WITHOUT ROWID;
