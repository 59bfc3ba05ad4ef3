import namespace0001 from "../../migrations/namespace/0001_create.sql";
import namespace0002 from "../../migrations/namespace/0002_revision.sql";
import namespace0003 from "../../migrations/namespace/0003_schedule_claim.sql";
import namespace0004 from "../../migrations/namespace/0004_resources.sql";
import namespace0005 from "../../migrations/namespace/0005_noun_claim.sql";
import namespace0006 from "../../migrations/namespace/0006_name_claim.sql";

/** The steps of a NamespaceObject's schema. */
export const MIGRATIONS = [
  { id: "namespace/0001", sql: namespace0001 },
  { id: "namespace/0002", sql: namespace0002 },
  { id: "namespace/0003", sql: namespace0003 },
  { id: "namespace/0004", sql: namespace0004 },
  { id: "namespace/0005", sql: namespace0005 },
  { id: "namespace/0006", sql: namespace0006 },
];
