// The package has no types. It is CommonJS: what it exports as its default is the path of the program for this platform.
declare module "workerd" {
  const workerd: { default: string; compatibilityDate: string };
  export default workerd;
}
