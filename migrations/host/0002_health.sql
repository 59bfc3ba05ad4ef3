-- Which health checks the agent runs of it; null until its owner says, which means all.
ALTER TABLE workload ADD COLUMN probing TEXT CHECK (probing IN ('readiness', 'all'));
-- The newest result of each health check of what should run here. Those of older generations, and of what is to go, are not kept.
CREATE TABLE health (
  workload TEXT NOT NULL,
  "check" INTEGER NOT NULL,
  owner TEXT NOT NULL,
  result TEXT NOT NULL,
  -- 1: the owner has not been told.
  untold INTEGER NOT NULL,
  PRIMARY KEY (workload, "check")
) WITHOUT ROWID;
CREATE INDEX untold_health ON health (owner) WHERE untold = 1;
