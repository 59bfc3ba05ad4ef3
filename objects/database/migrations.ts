import database0001 from "../../migrations/database/0001_create.sql";
import database0002 from "../../migrations/database/0002_readers.sql";

export const MIGRATIONS = [
  { id: "database/0001", sql: database0001 },
  { id: "database/0002", sql: database0002 },
];
