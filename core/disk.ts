// What a disk, or the process's share of it, refuses: told by the system's code, so that none of it is taken for a defect of ours.
import { KnownFailure } from './failures.ts';

const sentences: Readonly<Record<string, string>> = {
  ENOSPC: 'it is full',
  EDQUOT: 'the quota of the account is used up',
  EROFS: 'it is mounted read-only',
  EIO: 'reading or writing failed (input/output error)',
  EACCES: 'the account of the worker may not do this there',
  EPERM: 'the account of the worker may not do this there',
  EMFILE: 'the process has as many files open as it may',
  ENFILE: 'the host has as many files open as it may',
  ENOENT: 'a file or folder that was there is gone',
  ENOTDIR: 'a file stands where a folder was',
  EISDIR: 'a folder stands where a file was',
  ENOTEMPTY: 'a folder that was to be replaced is not empty',
  EFBIG: 'the file is larger than the file system takes',
  EBUSY: 'the file is in use',
  ESTALE: 'the network file system has lost the file',
  ENXIO: 'the device is gone',
  ENODEV: 'the device is gone',
  ETXTBSY: 'the file is in use',
  ENAMETOOLONG: 'the name is longer than the file system takes',
};
const full = new Set(['ENOSPC', 'EDQUOT']);

/** The system's code of an error about a file; sockets have some of the codes too, when they connect. */
export function diskCodeOf(error: unknown): string | undefined {
  const { code, syscall } = (error ?? {}) as NodeJS.ErrnoException;
  const isOfFile = syscall === undefined || !/^(connect|listen|bind|spawn)/.test(syscall);
  return typeof code === 'string' && code in sentences && isOfFile ? code : undefined;
}

/** An error about a file as a known failure; undefined: it is about something else. The path is ours: a folder of the worker, and no value stands in it. */
export function diskFailure(error: unknown): KnownFailure | undefined {
  const code = diskCodeOf(error);
  if (code === undefined) return undefined;
  const { path, syscall } = error as NodeJS.ErrnoException;
  const place = path === undefined ? '' : ` at ${path}`;
  return new KnownFailure(
    full.has(code) ? 'DiskFull' : 'DiskUnusable',
    `The disk of the worker host${place}: ${sentences[code]} (${code}${syscall === undefined ? '' : `, ${syscall}`}).`,
    { cause: error },
  );
}
