-- Names of resources that have objects of their own, whatever their kind. The object may not have been made yet, or be on its way out.
CREATE TABLE name_claim (
  kind TEXT NOT NULL,
  name TEXT NOT NULL,
  id TEXT NOT NULL,
  PRIMARY KEY (kind, name)
) WITHOUT ROWID;
INSERT INTO name_claim SELECT 'schedule', name, schedule_id FROM schedule_claim;
INSERT INTO name_claim SELECT kind, name, id FROM noun_claim;
DROP TABLE schedule_claim;
DROP TABLE noun_claim;
