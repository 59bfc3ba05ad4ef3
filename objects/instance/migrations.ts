import instance0001 from "../../migrations/instance/0001_create.sql";
import instance0002 from "../../migrations/instance/0002_source.sql";

export const MIGRATIONS = [
  { id: "instance/0001", sql: instance0001 },
  { id: "instance/0002", sql: instance0002 },
];
