-- Which schedule holds a name. Its object may not have been made yet, or be on its way out.
CREATE TABLE schedule_claim (
  name TEXT PRIMARY KEY,
  schedule_id TEXT NOT NULL
) WITHOUT ROWID;
