import database0001 from "../../migrations/database/0001_create.sql";
import database0002 from "../../migrations/database/0002_readers.sql";
import database0003 from "../../migrations/database/0003_suspect.sql";
import database0004 from "../../migrations/database/0004_unprepared.sql";

export const MIGRATIONS = [
  { id: "database/0001", sql: database0001 },
  { id: "database/0002", sql: database0002 },
  { id: "database/0003", sql: database0003 },
  { id: "database/0004", sql: database0004 },
];
