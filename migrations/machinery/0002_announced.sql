-- How far the journal has been told to webhooks. An object that is older than webhooks begins at its present end.
CREATE TABLE announced (one INTEGER PRIMARY KEY CHECK (one = 1), seq INTEGER NOT NULL);
INSERT INTO announced SELECT 1, coalesce(max(seq), 0) FROM journal;
