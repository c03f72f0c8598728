// A CA of a test's own and a server certificate that it has signed, for this machine's names.
import { execFile } from 'node:child_process';
import { chmod, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

export interface Certificates {
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
}

export async function makeCertificates(folder: string): Promise<Certificates> {
  const at = (name: string) => join(folder, name);
  const openssl = (...args: string[]) => run('openssl', args, { cwd: folder });
  const request = ['req', '-newkey', 'rsa:2048', '-nodes', '-days', '2'];
  await openssl(...request, '-x509', '-subj', '/CN=causeway test CA', '-keyout', 'ca.key', '-out', 'ca.crt');
  await openssl(...request, '-subj', '/CN=localhost', '-keyout', 'server.key', '-out', 'server.csr');
  await writeFile(at('names'), 'subjectAltName=DNS:localhost,IP:127.0.0.1,IP:::1\n');
  const sign = ['x509', '-req', '-in', 'server.csr', '-CA', 'ca.crt', '-CAkey', 'ca.key', '-CAcreateserial'];
  await openssl(...sign, '-days', '2', '-extfile', 'names', '-out', 'server.crt');
  await chmod(at('server.key'), 0o600);
  return { ca: at('ca.crt'), cert: at('server.crt'), key: at('server.key') };
}
