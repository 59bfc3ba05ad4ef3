import { PROFILES, type ProfileName } from "../../contract/database-profile.ts";

/** What a writer reserves of its host: its memory, and of its CPU the part that it may count on while others want theirs. */
export const reservationOf = (profile: ProfileName): { memory_bytes: number; cpu_millis: number } => ({
  memory_bytes: PROFILES[profile].memory_bytes,
  cpu_millis: PROFILES[profile].cpu_millis / CPU_SHARED_BY,
});

/** Most databases that are awake do next to nothing at any moment. */
const CPU_SHARED_BY = 4;
