// A small S3 service in memory, for what no test machine can be expected to have. It checks every signature as S3 does, by signing again.
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { AwsV4Signer } from "aws4fetch";

export const CREDENTIALS = { accessKeyId: "lamps", secretAccessKey: "of the store" };
const PAGE = 3;

export type S3Server = {
  endpoint: string;
  objects: Map<string, Buffer>;
  fail: (times: number) => void;
  close: () => void;
};

export async function startS3(bucket: string): Promise<S3Server> {
  const objects = new Map<string, Buffer>();
  const uploads = new Map<string, Map<number, Buffer>>();
  let failures = 0;
  const server = createServer((request, response) => {
    void answer(request, response).catch((error: Error) =>
      end(response, 500, `<Error><Code>${error.message}</Code></Error>`),
    );
  });
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  const endpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const body = Buffer.concat(chunks);
    const url = new URL(request.url ?? "/", endpoint);
    if (failures > 0) {
      failures--;
      return end(response, 503, "<Error><Code>SlowDown</Code></Error>");
    }
    if (!(await isSigned(request, url))) return end(response, 403, "<Error><Code>SignatureDoesNotMatch</Code></Error>");
    const [, name, ...rest] = url.pathname.split("/");
    if (name !== bucket) return end(response, 404, "<Error><Code>NoSuchBucket</Code></Error>");
    const key = decodeURIComponent(rest.join("/"));
    const upload = url.searchParams.get("uploadId");
    if (request.method === "GET" && key === "") return list(url, response);
    if (request.method === "POST" && url.searchParams.has("uploads")) {
      uploads.set(`up+load/${uploads.size}`, new Map());
      return end(response, 200, `<R><UploadId>up+load/${uploads.size - 1}</UploadId></R>`);
    }
    if (upload !== null) {
      const parts = uploads.get(upload);
      if (!parts) return end(response, 404, "<Error><Code>NoSuchUpload</Code></Error>");
      if (request.method === "PUT") {
        parts.set(Number(url.searchParams.get("partNumber")), body);
        response.setHeader("etag", `"${parts.size}"`);
      } else if (request.method === "POST") {
        const listed = [...body.toString().matchAll(/<PartNumber>(\d+)</g)].map((match) => Number(match[1]));
        objects.set(key, Buffer.concat(listed.map((number) => parts.get(number) as Buffer)));
        uploads.delete(upload);
      } else uploads.delete(upload);
      return end(response, 200, "<R/>");
    }
    if (request.method === "PUT") objects.set(key, body);
    else if (request.method === "DELETE") objects.delete(key);
    else {
      const object = objects.get(key);
      if (!object) return end(response, 404, "<Error><Code>NoSuchKey</Code></Error>");
      response.writeHead(200);
      response.end(object);
      return;
    }
    end(response, 200, "");
  }

  function list(url: URL, response: ServerResponse): void {
    const prefix = url.searchParams.get("prefix") ?? "";
    const after = url.searchParams.get("continuation-token") ?? "";
    const keys = [...objects.keys()].filter((key) => key.startsWith(prefix) && key > after).sort();
    const page = keys.slice(0, PAGE);
    const more =
      keys.length > PAGE ? `<NextContinuationToken>${escaped(page.at(-1) ?? "")}</NextContinuationToken>` : "";
    end(
      response,
      200,
      `<R>${page.map((key) => `<Contents><Key>${escaped(key)}</Key></Contents>`).join("")}${more}</R>`,
    );
  }

  return {
    endpoint,
    objects,
    fail: (times) => {
      failures = times;
    },
    close: () => {
      server.close();
      server.closeAllConnections();
    },
  };
}

async function isSigned(request: IncomingMessage, url: URL): Promise<boolean> {
  const headers = Object.fromEntries(
    Object.entries(request.headers).filter(([name]) => name.startsWith("x-amz-")),
  ) as Record<string, string>;
  const datetime = headers["x-amz-date"] ?? "";
  const signer = new AwsV4Signer({
    ...{ ...CREDENTIALS, url: url.href, method: request.method ?? "GET", headers },
    ...{ service: "s3", region: "auto", datetime },
  });
  const signed = await signer.sign();
  return signed.headers.get("authorization") === request.headers.authorization;
}

const escaped = (text: string): string => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;");

function end(response: ServerResponse, status: number, body: string): void {
  response.writeHead(status, { "content-type": "application/xml" });
  response.end(body);
}
