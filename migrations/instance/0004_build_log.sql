-- What a build wrote, taken from its host before nothing of it was left there. LogLine[], JSON.
CREATE TABLE build_log (build_id TEXT PRIMARY KEY, lines TEXT NOT NULL) WITHOUT ROWID;
