import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";

const run = promisify(execFile);

/** A certificate authority and a server certificate it signed for `localhost`, 127.0.0.1 and ::1; all PEM. */
export interface Certificates {
  readonly caPem: string;
  readonly certPem: string;
  readonly keyPem: string;
}

const newKey = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];

const make = async (): Promise<Certificates> => {
  const cwd = await mkdtemp(join(tmpdir(), "samebox-ca-"));
  try {
    await writeFile(join(cwd, "server.ext"), "subjectAltName=DNS:localhost,IP:127.0.0.1,IP:::1\nextendedKeyUsage=serverAuth\n");
    const ca = ["req", "-x509", ...newKey, "-keyout", "ca.key", "-out", "ca.pem", "-days", "30", "-subj", "/CN=Samebox test CA"];
    await run("openssl", ca, { cwd });
    await run("openssl", ["req", ...newKey, "-keyout", "server.key", "-out", "server.csr", "-subj", "/CN=localhost"], { cwd });
    const sign = ["x509", "-req", "-in", "server.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "30"];
    await run("openssl", [...sign, "-extfile", "server.ext", "-out", "server.pem"], { cwd });
    const [caPem, certPem, keyPem] = await Promise.all(
      ["ca.pem", "server.pem", "server.key"].map((name) => readFile(join(cwd, name), "utf8")),
    );
    if (caPem === undefined || certPem === undefined || keyPem === undefined) throw new Error("openssl wrote no certificate");
    return { caPem, certPem, keyPem };
  } finally {
    await rm(cwd, { recursive: true, force: true });
  }
};

const caConfig = `[ca]
default_ca = expired
[expired]
database = index.txt
new_certs_dir = .
serial = serial
default_md = sha256
policy = policy
[policy]
commonName = supplied
`;

/** A certificate of `localhost` that was good in January 2020, signed by itself. */
export const expiredCertificate = async (): Promise<Omit<Certificates, "caPem">> => {
  const cwd = await mkdtemp(join(tmpdir(), "samebox-ca-"));
  try {
    await writeFile(join(cwd, "ca.cnf"), caConfig);
    await writeFile(join(cwd, "index.txt"), "");
    await writeFile(join(cwd, "serial"), "01\n");
    await run("openssl", ["req", ...newKey, "-keyout", "server.key", "-out", "server.csr", "-subj", "/CN=localhost"], { cwd });
    const sign = ["ca", "-batch", "-notext", "-selfsign", "-config", "ca.cnf", "-keyfile", "server.key", "-in", "server.csr"];
    const dates = ["-startdate", "20200101000000Z", "-enddate", "20200201000000Z"];
    await run("openssl", [...sign, ...dates, "-out", "server.pem"], { cwd });
    const [certPem, keyPem] = await Promise.all([
      readFile(join(cwd, "server.pem"), "utf8"),
      readFile(join(cwd, "server.key"), "utf8"),
    ]);
    return { certPem, keyPem };
  } finally {
    await rm(cwd, { recursive: true, force: true });
  }
};

let made: Promise<Certificates> | undefined;

/** Made once per process, by openssl. */
export const testCertificates = (): Promise<Certificates> => (made ??= make());
