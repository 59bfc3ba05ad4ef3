ALTER TABLE token ADD COLUMN kind TEXT NOT NULL DEFAULT 'access';
-- Whose it is: sessions, and what was made with them, end with the user's role.
ALTER TABLE token ADD COLUMN user_id TEXT;
ALTER TABLE token ADD COLUMN idle_ms INTEGER;
-- Ended before it was made: whoever makes it now comes too late.
CREATE TABLE barred (
  one INTEGER PRIMARY KEY CHECK (one = 1),
  at INTEGER NOT NULL
);
