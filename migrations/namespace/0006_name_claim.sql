-- Names of resources that have objects of their own. `at`: since when; an object that was never made gives its name up after a while.
CREATE TABLE name_claim (
  kind TEXT NOT NULL,
  name TEXT NOT NULL,
  id TEXT NOT NULL,
  at INTEGER NOT NULL,
  PRIMARY KEY (kind, name)
) WITHOUT ROWID;
