// The least that a Hono app on workerd does: what the requests figure divides by.
import { Hono } from "hono";

const app = new Hono();
app.get("/", (c) => c.json({ state: "UP" }));

export default app;
