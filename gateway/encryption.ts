import type { Socket } from "node:net";
import { TLSSocket } from "node:tls";
import type { Certificate } from "./certificate.ts";

export const ALPN = "postgresql";
/** The first byte of a TLS record that begins a handshake: a client that does not ask first. */
export const TLS_HANDSHAKE = 0x16;

export type Encrypted = { socket: TLSSocket; serverName: string | null };

/**
 * The server's side of TLS on a connection whose first bytes, if any were read, have been put back.
 * @param direct the client did not ask for TLS first; then it must name the protocol (ALPN), as PostgreSQL wants it
 */
export function encrypt(socket: Socket, certificate: Certificate, direct: boolean): Promise<Encrypted> {
  return new Promise((done, fail) => {
    const secure = new TLSSocket(socket, {
      isServer: true,
      secureContext: certificate.context,
      ALPNCallback: ({ protocols }) => (protocols.includes(ALPN) ? ALPN : undefined),
      requestCert: false,
    });
    const failed = (error?: Error) => {
      secure.on("error", () => {});
      secure.destroy();
      fail(error ?? new Error("the connection was closed during the TLS handshake"));
    };
    secure.once("error", failed);
    secure.once("close", failed);
    secure.once("secure", () => {
      secure.off("error", failed);
      secure.off("close", failed);
      if (direct && secure.alpnProtocol !== ALPN) return failed(new Error("direct TLS without ALPN"));
      // Its type promises a name; there is none when the client has sent none.
      const serverName = (secure as { servername?: string | false | null }).servername;
      return done({ socket: secure, serverName: serverName || null });
    });
  });
}

/** Whether a host name that a client asked for is one of these; `*.` at the beginning stands for one label. */
export function matchesServerName(asked: string, names: readonly string[]): boolean {
  const name = asked.toLowerCase();
  return names.some((each) => {
    const known = each.toLowerCase();
    if (!known.startsWith("*.")) return name === known;
    const dot = name.indexOf(".");
    return dot > 0 && name.slice(dot) === known.slice(1);
  });
}
