// The bundler turns a .sql file into its text (wrangler's default rule; `lamplighter up` sets the same loader).
declare module "*.sql" {
  const text: string;
  export default text;
}
