// Installing a server that several want at once, as two suites' servers do on a new machine.
import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { homeOf } from '../../stack/home.ts';
import { temporalBinary } from '../../stack/install.ts';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'causeway-install-'));
  await mkdir(join(folder, 'bin'));
});
afterEach(async () => {
  vi.unstubAllEnvs();
  await rm(folder, { recursive: true, force: true });
});

test('two that want Temporal where it cannot be downloaded wait for one building of it', async () => {
  const go = join(folder, 'bin', 'go');
  const built = join(folder, 'built');
  await writeFile(
    go,
    `#!/bin/sh\nprintf x >> '${built}'\nprintf '#!/bin/sh' > "$GOBIN/temporal"\n/bin/chmod +x "$GOBIN/temporal"\n`,
  );
  await chmod(go, 0o755);
  vi.stubEnv('PATH', join(folder, 'bin'));
  // Nobody listens there: the download fails at once, with or without the internet.
  for (const name of ['HTTPS_PROXY', 'https_proxy', 'ALL_PROXY']) vi.stubEnv(name, 'http://127.0.0.1:9');
  const home = homeOf({ CAUSEWAY_HOME: folder, CAUSEWAY_TOOLS: join(folder, 'tools') });
  const [one, other] = await Promise.all([
    temporalBinary(home, () => undefined),
    temporalBinary(home, () => undefined),
  ]);
  expect(one).toContain(join(folder, 'tools'));
  expect(other).toBe(one);
  expect(await readFile(built, 'utf8')).toBe('x');
});
