// The package has no types: it is the path of the program for this platform.
declare module "workerd" {
  const path: string;
  export default path;
}
