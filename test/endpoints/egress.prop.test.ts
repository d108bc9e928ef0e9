import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { addressAllowed, resolveHost, vetAnswers } from "../../src/endpoints/egress.ts";

const strict = { allowPrivateHosts: false };
const lenient = { allowPrivateHosts: true };
const { signal } = new AbortController();

const byte = fc.integer({ min: 0, max: 255 });
const ipv4 = fc.tuple(byte, byte, byte, byte);
const dotted = (octets: readonly number[]): string => octets.join(".");
const inside = (first: readonly number[]) =>
  fc.tuple(byte, byte, byte, byte).map((octets) => octets.map((octet, index) => first[index] ?? octet));

const closed4 = fc.oneof(
  inside([10]),
  inside([127]),
  inside([0]),
  inside([192, 168]),
  inside([169, 254]),
  inside([198, 18]),
  fc.tuple(fc.integer({ min: 16, max: 31 }), byte, byte).map((rest) => [172, ...rest]),
  fc.tuple(fc.integer({ min: 64, max: 127 }), byte, byte).map((rest) => [100, ...rest]),
  fc.tuple(fc.integer({ min: 224, max: 255 }), byte, byte, byte),
);

const hex = (high: number, low: number): string => ((high << 8) | low).toString(16);
/** Every way an IPv6 address leads to an IPv4 one. */
const wraps = (octets: readonly number[]): string[] => {
  const [a = 0, b = 0, c = 0, d = 0] = octets;
  const tail = `${hex(a, b)}:${hex(c, d)}`;
  return [`::ffff:${dotted(octets)}`, `::ffff:${tail}`, `64:ff9b::${tail}`, `64:ff9b::${dotted(octets)}`, `2002:${tail}::1`];
};

describe("addresses the daemon may connect to", () => {
  it("are none of the closed IPv4 ranges, however they are wrapped", () => {
    fc.assert(
      fc.property(closed4, (octets) => {
        for (const address of [dotted(octets), ...wraps(octets), `::${hex(octets[0] ?? 0, octets[1] ?? 0)}:1`]) {
          expect(addressAllowed(address, strict), address).toBe(false);
        }
      }),
    );
  });

  it("are the same for an IPv4 address and for each of its wrappings", () => {
    fc.assert(
      fc.property(ipv4, fc.boolean(), (octets, allowPrivateHosts) => {
        const plain = addressAllowed(dotted(octets), { allowPrivateHosts });
        for (const address of wraps(octets)) expect(addressAllowed(address, { allowPrivateHosts }), address).toBe(plain);
      }),
    );
  });

  it("are in IPv6 only global unicast ones", () => {
    const group = fc.integer({ min: 0, max: 0xffff });
    fc.assert(
      fc.property(fc.array(group, { minLength: 8, maxLength: 8 }), (groups) => {
        const [first = 0] = groups;
        fc.pre(first < 0x2000 || first > 0x3fff);
        const address = groups.map((part) => part.toString(16)).join(":");
        fc.pre(!address.startsWith("0:0:0:0:0:ffff:") && !address.startsWith("64:ff9b:"));
        expect(addressAllowed(address, strict), address).toBe(false);
      }),
    );
  });

  it.each(["93.184.216.34", "2606:4700::1111", "64:ff9b::5db8:d822", "::ffff:93.184.216.34"])(
    "include the public %s",
    (address) => {
      expect(addressAllowed(address, strict)).toBe(true);
    },
  );

  it.each([
    "169.254.169.254",
    "::ffff:169.254.169.254",
    "fd00:ec2::254",
    "fd00:ec2::254%eth0",
    "100.100.100.200",
    "168.63.129.16",
    "0.0.0.0",
    "::",
    "224.0.0.1",
    "ff02::1",
  ])("never include %s, even where private hosts are allowed", (address) => {
    expect(addressAllowed(address, lenient)).toBe(false);
  });

  it.each(["127.0.0.1", "::1", "10.1.2.3", "192.168.1.1", "fd12::1", "100.64.0.1"])(
    "include %s where private hosts are allowed",
    (address) => {
      expect(addressAllowed(address, strict)).toBe(false);
      expect(addressAllowed(address, lenient)).toBe(true);
    },
  );
});

describe("the answers for a name", () => {
  it("are refused all together when one of them is private", () => {
    const open = fc
      .constantFrom<string>("93.184.216.34", "2606:4700::1111", "1.1.1.1")
      .map((address) => ({ address, family: address.includes(":") ? 6 : 4 }));
    const closed = closed4.map((octets) => ({ address: dotted(octets), family: 4 }));
    fc.assert(
      fc.property(fc.array(open, { minLength: 1 }), closed, fc.nat(), (answers, bad, at) => {
        expect(vetAnswers("mail.example.com", answers, strict)).toEqual(answers[0]);
        const mixed = answers.toSpliced(at % (answers.length + 1), 0, bad);
        expect(() => vetAnswers("mail.example.com", mixed, strict)).toThrow(
          expect.objectContaining({ kind: "config", code: "host_not_allowed" }),
        );
      }),
    );
  });
});

describe("resolveHost", () => {
  const spellings = ({ octets }: { octets: readonly number[] }): string[] => {
    const [a = 0, b = 0, c = 0, d = 0] = octets;
    const whole = ((a << 24) | (b << 16) | (c << 8) | d) >>> 0;
    const fullWidth = dotted(octets).replace(/\d/g, (digit) => String.fromCharCode(0xff10 + Number(digit)));
    return [
      dotted(octets),
      String(whole),
      `0x${whole.toString(16)}`,
      `0x${a.toString(16)}.${b}.0${c.toString(8)}.${d}`,
      `${a}.${((b << 16) | (c << 8) | d) >>> 0}`,
      `[::ffff:${dotted(octets)}]`,
      fullWidth,
      ...wraps(octets).map((address) => `[${address}]`),
    ];
  };

  it("refuses a private address in every spelling without asking the DNS", async () => {
    await fc.assert(
      fc.asyncProperty(closed4, async (octets) => {
        for (const host of spellings({ octets })) {
          await expect(resolveHost(host, strict, signal), host).rejects.toMatchObject({
            kind: "config",
            code: "host_not_allowed",
          });
        }
      }),
      { numRuns: 50 },
    );
  });

  it("gives a public address in the one spelling a socket takes", async () => {
    for (const host of ["1572395042", "0x5db8d822", "93.184.216.34", "93.0xb8.0330.34"]) {
      await expect(resolveHost(host, strict, signal)).resolves.toEqual({ address: "93.184.216.34", family: 4 });
    }
    await expect(resolveHost("[2606:4700::1111]", strict, signal)).resolves.toEqual({ address: "2606:4700::1111", family: 6 });
  });

  it.each(["", "a b", "mail\0.example.com", "mail\r\n.example.com", "x".repeat(300), "http://mail.example.com", "[]"])(
    "takes %j for no host name",
    async (host) => {
      await expect(resolveHost(host, lenient, signal)).rejects.toMatchObject({ kind: "config", code: "host_not_allowed" });
    },
  );

  it("looks names up, and follows the operator's word on this machine's own addresses", async () => {
    await expect(resolveHost("localhost", strict, signal)).rejects.toMatchObject({ code: "host_not_allowed" });
    expect((await resolveHost("localhost", lenient, signal)).address).toMatch(/^(127\.0\.0\.1|::1)$/);
  });

  it("says in plain words that a name does not lead anywhere", async () => {
    // No resolver at all gives EAI_AGAIN in place of ENOTFOUND: both are to be tried again.
    await expect(resolveHost("no-such-host.invalid", strict, signal)).rejects.toMatchObject({
      kind: "transient",
      scope: "endpoint",
      code: "endpoint_unreachable",
    });
  });

  it("stops when it is told to", async () => {
    await expect(resolveHost("mail.example.com", strict, AbortSignal.abort())).rejects.toMatchObject({ kind: "stopped" });
  });
});
