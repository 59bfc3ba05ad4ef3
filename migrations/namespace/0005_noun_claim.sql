-- Which database holds a name. Its object may not have been made yet, or be on its way out.
CREATE TABLE noun_claim (
  kind TEXT NOT NULL,
  name TEXT NOT NULL,
  id TEXT NOT NULL,
  PRIMARY KEY (kind, name)
) WITHOUT ROWID;
