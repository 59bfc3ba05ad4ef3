import instance0001 from "../../migrations/instance/0001_create.sql";
import instance0002 from "../../migrations/instance/0002_source.sql";
import instance0003 from "../../migrations/instance/0003_route.sql";
import instance0004 from "../../migrations/instance/0004_build_log.sql";
import instance0005 from "../../migrations/instance/0005_engine_log.sql";

export const MIGRATIONS = [
  { id: "instance/0001", sql: instance0001 },
  { id: "instance/0002", sql: instance0002 },
  { id: "instance/0003", sql: instance0003 },
  { id: "instance/0004", sql: instance0004 },
  { id: "instance/0005", sql: instance0005 },
];
