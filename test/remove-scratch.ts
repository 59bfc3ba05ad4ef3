// After the last hook of each file, also where a test or a hook has failed.
import { afterAll } from "vitest";
import { removeScratch } from "./scratch.ts";

afterAll(removeScratch);
