// The bundler turns a .sql file into its text (wrangler's default rule; `lamplighter up` sets the same loader).
declare module "*.sql" {
  const text: string;
  export default text;
}

// An optional secret: `wrangler types` only knows those that are required. See wrangler.toml.
interface Env {
  SECRET_KEYS?: string;
}
declare namespace Cloudflare {
  interface Env {
    SECRET_KEYS?: string;
  }
}
