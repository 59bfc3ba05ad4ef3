import host0001 from "../../migrations/host/0001_create.sql";
import host0002 from "../../migrations/host/0002_health.sql";
import host0003 from "../../migrations/host/0003_writer_lease.sql";

/** The steps of a HostObject's schema. */
export const MIGRATIONS = [
  { id: "host/0001", sql: host0001 },
  { id: "host/0002", sql: host0002 },
  { id: "host/0003", sql: host0003 },
];
