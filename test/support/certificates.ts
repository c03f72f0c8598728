// A CA of a test's own, and what it has signed: a server's certificate for this machine's names, and a client's.
import { execFile } from 'node:child_process';
import { chmod, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** Paths of PEM files. */
export interface Certificates {
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
  /** `both` in one file, as MongoDB's drivers take it. */
  readonly client: { readonly cert: string; readonly key: string; readonly both: string };
}

export async function makeCertificates(folder: string): Promise<Certificates> {
  await mkdir(folder, { recursive: true });
  const at = (name: string) => join(folder, name);
  const openssl = (...args: string[]) => run('openssl', args, { cwd: folder });
  const request = ['req', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];
  await openssl(
    ...request,
    '-days',
    '2',
    '-x509',
    '-subj',
    '/CN=causeway test CA',
    '-keyout',
    'ca.key',
    '-out',
    'ca.crt',
  );
  const sign = async (who: string, subject: string, extension: string) => {
    await openssl(...request, '-subj', `/CN=${subject}`, '-keyout', `${who}.key`, '-out', `${who}.csr`);
    await writeFile(at(`${who}.ext`), extension);
    const by = ['-CA', 'ca.crt', '-CAkey', 'ca.key', '-CAcreateserial', '-days', '2', '-extfile', `${who}.ext`];
    await openssl('x509', '-req', '-in', `${who}.csr`, ...by, '-out', `${who}.crt`);
    await chmod(at(`${who}.key`), 0o600);
  };
  await sign('server', 'localhost', 'subjectAltName=DNS:localhost,IP:127.0.0.1,IP:::1\n');
  await sign('client', 'causeway', 'extendedKeyUsage=clientAuth\n');
  const both = Buffer.concat([await readFile(at('client.crt')), await readFile(at('client.key'))]);
  await writeFile(at('client.pem'), both, { mode: 0o600 });
  return {
    ca: at('ca.crt'),
    cert: at('server.crt'),
    key: at('server.key'),
    client: { cert: at('client.crt'), key: at('client.key'), both: at('client.pem') },
  };
}
