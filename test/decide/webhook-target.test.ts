import { describe, expect, test } from "vitest";
import { addressFault, allowanceOf, targetFault } from "../../objects/webhook/target.ts";

const PUBLIC = [
  "https://example.com",
  "https://example.com/hook?x=1",
  "https://EXAMPLE.com:443/",
  "https://example.com:8443/hook",
  "https://hooks.example.co.uk./x",
  "https://1.1.1.1/hook",
  "https://93.184.216.34",
  "https://[2606:4700:4700::1111]/",
  "https://xn--bcher-kva.example/",
  "https://bücher.example/",
  "https://a-local.example.com/",
  "https://localhost.example.com/",
];

/** Every form that must not be sent to, by what is behind it. */
const REFUSED: Record<string, string[]> = {
  "not a URL, or not of this kind": [
    "",
    "example.com",
    "/hook",
    "ftp://example.com/",
    "file:///etc/passwd",
    "gopher://example.com/",
    "javascript:alert(1)",
    "data:text/plain,x",
    "ws://example.com/",
    "https://",
    "https://exa mple.com/",
    "https://example.com/\r\nX-Injected: 1",
    "https:\\\\example.com\\",
    "https://example.com/#fragment",
  ],
  "not https": ["http://example.com/", "HTTP://example.com/"],
  "user or password": [
    "https://user@example.com/",
    "https://user:password@example.com/",
    "https://:password@example.com/",
    "https://@example.com/",
    "https://example.com@127.0.0.1/",
    "https://127.0.0.1@example.com/",
    "https://example.com%40127.0.0.1/",
  ],
  "ports that are no web server's": [
    "https://example.com:22/",
    "https://example.com:25/",
    "https://example.com:80/",
    "https://example.com:0/",
    "https://example.com:2375/",
    "https://example.com:5432/",
    "https://example.com:6379/",
    "https://example.com:11211/",
  ],
  "names of this machine or its network": [
    "https://localhost/",
    "https://LOCALHOST/",
    "https://localhost./",
    "https://foo.localhost/",
    "https://localhost.localdomain/",
    "https://printer.local/",
    "https://db.internal/",
    "https://metadata.google.internal/computeMetadata/v1/",
    "https://metadata.google.internal./",
    "https://router.lan/",
    "https://nas.home.arpa/",
    "https://intranet/",
    "https://metadata/",
    "https://kubernetes.default.svc.cluster.local/",
    "https://hidden.onion/",
  ],
  loopback: [
    "https://127.0.0.1/",
    "https://127.0.0.1./",
    "https://127.1.2.3/",
    "https://127.1/",
    "https://127.0.1/",
    "https://0x7f.0.0.1/",
    "https://0x7f000001/",
    "https://0177.0.0.1/",
    "https://0177.0.0.01/",
    "https://2130706433/",
    "https://017700000001/",
    "https://%31%32%37.0.0.1/",
    "https://１２７.0.0.1/",
    "https://127。0。0。1/",
    "https://[::1]/",
    "https://[0:0:0:0:0:0:0:1]/",
    "https://[0000:0000:0000:0000:0000:0000:0000:0001]/",
  ],
  unspecified: ["https://0.0.0.0/", "https://0/", "https://0x0/", "https://0.1.2.3/", "https://[::]/"],
  private: [
    "https://10.0.0.1/",
    "https://10.1/",
    "https://012.0.0.1/",
    "https://0xa.0.0.1/",
    "https://167772161/",
    "https://172.16.0.1/",
    "https://172.31.255.255/",
    "https://192.168.0.1/",
    "https://192.168.257/",
    "https://0xc0a80001/",
    "https://3232235521/",
    "https://[fc00::1]/",
    "https://[fd12:3456:789a::1]/",
    "https://[fec0::1]/",
  ],
  "link-local, and metadata": [
    "https://169.254.169.254/latest/meta-data/",
    "https://169.254.170.2/",
    "https://0xa9fea9fe/",
    "https://2852039166/",
    "https://0251.0376.0251.0376/",
    "https://[fe80::1]/",
    "https://[fd00:ec2::254]/",
    "https://168.63.129.16/",
    "https://100.100.100.200/",
  ],
  "carrier-grade NAT, multicast, broadcast, documentation, benchmarks, reserved": [
    "https://100.64.0.1/",
    "https://100.127.255.255/",
    "https://224.0.0.1/",
    "https://239.255.255.250/",
    "https://255.255.255.255/",
    "https://240.0.0.1/",
    "https://192.0.0.1/",
    "https://192.0.2.1/",
    "https://198.18.0.1/",
    "https://198.51.100.1/",
    "https://203.0.113.1/",
    "https://192.88.99.1/",
    "https://[ff02::1]/",
    "https://[2001:db8::1]/",
    "https://[100::1]/",
    "https://[4000::1]/",
    "https://[::2]/",
  ],
  "IPv4 within IPv6": [
    "https://[::ffff:127.0.0.1]/",
    "https://[::ffff:7f00:1]/",
    "https://[0:0:0:0:0:ffff:10.0.0.1]/",
    "https://[::ffff:169.254.169.254]/",
    "https://[::ffff:8.8.8.8]/",
    "https://[::127.0.0.1]/",
    "https://[::7f00:1]/",
    "https://[::ffff:0:127.0.0.1]/",
    "https://[64:ff9b::127.0.0.1]/",
    "https://[64:ff9b::a9fe:a9fe]/",
    "https://[64:ff9b:1::a00:1]/",
    "https://[2002:7f00:1::]/",
    "https://[2002:a00:1::1]/",
    "https://[2001:0:1:2:3:4:80ff:fffe]/",
    "https://[fe80::1%25eth0]/",
  ],
};

test.each(PUBLIC)("%s may be sent to", (url) => {
  expect(targetFault(url, "public")).toBeNull();
});

describe.each(Object.entries(REFUSED))("%s", (_, urls) => {
  test.each(urls)("%j is refused", (url) => {
    expect(targetFault(url, "public")).toEqual(expect.any(String));
  });
});

test("there are more than sixty refused forms", () => {
  expect(Object.values(REFUSED).flat().length).toBeGreaterThan(60);
});

test("where anything is allowed, this machine and plain http are; user, fragment and other schemes are not", () => {
  for (const url of ["http://127.0.0.1:8080/x", "http://localhost/", "https://10.0.0.1:25/", "http://[::1]:3000/"])
    expect(targetFault(url, "any"), url).toBeNull();
  for (const url of ["http://u:p@localhost/", "http://localhost/#x", "ftp://localhost/", "nonsense"])
    expect(targetFault(url, "any"), url).not.toBeNull();
});

test("only the word itself allows anything", () => {
  expect(allowanceOf("any")).toBe("any");
  for (const word of [undefined, "", "true", "1", "ANY", "public"]) expect(allowanceOf(word)).toBe("public");
});

test("what a name resolves to is looked at like an address that is given", () => {
  for (const address of ["127.0.0.1", "10.0.0.1", "::1", "fd00::1", "169.254.169.254", "::ffff:10.0.0.1", "nonsense"])
    expect(addressFault(address), address).not.toBeNull();
  for (const address of ["1.1.1.1", "2606:4700:4700::1111"]) expect(addressFault(address), address).toBeNull();
});
