// The files below a folder, with something wrong with one call: what this process asks of node:fs there is counted, and one call fares as a test decides.
// Also a module for `--import`: then the calls of that process fail at random (FAULTY_DISK: a folder, a seed and the share of calls, as JSON).
import fs, { type PathLike } from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { setTimeout as sleep } from 'node:timers/promises';

/** `short`: half of it is written, then the disk is full. `vanished`, `cut off`: what the call is about is gone, or shorter, when it comes to it. */
export const diskFaults = ['full', 'broken', 'short', 'slow', 'vanished', 'cut off'] as const;
export type DiskFault = (typeof diskFaults)[number];

export interface DiskCall {
  readonly number: number;
  readonly what: string;
}
type Decide = (call: DiskCall) => DiskFault | undefined;
type Any = (...args: never[]) => unknown;

const slowMs = 200;
const original = { ...fs.promises };
const { rmSync, truncateSync, statSync, createWriteStream, createReadStream } = fs;
/** Calls that name a path first. */
const byPath = ['open', 'readFile', 'writeFile', 'rename', 'mkdir', 'chmod', 'readdir', 'rm'] as const;
const byHandle = ['appendFile', 'writeFile', 'sync'] as const;

export class FaultyDisk {
  readonly #folder: string;
  #decide: Decide = () => undefined;
  asked: string[] = [];
  done: { readonly fault: DiskFault; readonly what: string; readonly number: number }[] = [];

  /** From now on for all of this process. */
  constructor(folder: string) {
    this.#folder = folder;
    for (const name of byPath) this.#wrapCall(name);
    fs.createWriteStream = ((path: PathLike, options: object) =>
      createWriteStream(path, { ...options, ...this.#streaming('createWriteStream', String(path), 'write') })) as never;
    fs.createReadStream = ((path: PathLike, options: object) =>
      createReadStream(path, { ...options, ...this.#streaming('createReadStream', String(path), 'read') })) as never;
    syncBuiltinESMExports();
  }

  watch(decide: Decide = () => undefined): void {
    this.asked = [];
    this.done = [];
    this.#decide = decide;
  }

  /** As a line to a store has it. */
  release(): void {
    // Nothing is kept back.
  }

  close(): void {
    for (const name of byPath) fs.promises[name] = original[name] as never;
    Object.assign(fs, { createWriteStream, createReadStream });
    syncBuiltinESMExports();
  }

  #fault(what: string, path: string): DiskFault | undefined {
    if (!path.startsWith(this.#folder)) return undefined;
    const call = { number: this.asked.length + 1, what: `${what} ${sortOf(path.slice(this.#folder.length))}` };
    this.asked.push(call.what);
    const fault = this.#decide(call);
    if (fault) this.done.push({ fault, ...call });
    if (fault === 'vanished') rmSync(path, { recursive: true, force: true });
    if (fault === 'cut off') cutOff(path);
    return fault;
  }

  #wrapCall(name: (typeof byPath)[number]): void {
    const call = original[name] as Any;
    fs.promises[name] = (async (path: PathLike, ...rest: never[]) => {
      const fault = this.#fault(name, String(path));
      if (fault === 'slow') await sleep(slowMs);
      if (fault === 'full' || fault === 'broken' || fault === 'short') throw refusal(fault, name, String(path));
      const result = await call(path as never, ...rest);
      if (name === 'open') this.#wrapHandle(result as fs.promises.FileHandle, String(path));
      return result;
    }) as never;
  }

  #wrapHandle(handle: fs.promises.FileHandle, path: string): void {
    if (!path.startsWith(this.#folder)) return;
    for (const name of byHandle) {
      const call = (handle[name] as Any).bind(handle) as (...args: unknown[]) => Promise<unknown>;
      Object.defineProperty(handle, name, {
        value: async (...args: unknown[]) => {
          const fault = this.#fault(`${name} of a handle`, path);
          if (fault === 'slow') await sleep(slowMs);
          if (fault === 'short' && name !== 'sync') await call(half(args[0]));
          if (fault === 'full' || fault === 'broken' || fault === 'short') throw refusal(fault, 'write', path);
          return call(...args);
        },
      });
    }
  }

  #streaming(what: string, path: string, call: 'read' | 'write'): object {
    const fault = this.#fault(what, path);
    if (fault !== 'full' && fault !== 'broken' && fault !== 'short') return {};
    const fail = (...args: unknown[]) => (args.at(-1) as (error: Error) => void)(refusal(fault, call, path));
    const { open, close, read, write, writev, fsync } = fs;
    return { fs: { open, close, read, write, writev, fsync, [call]: fail, ...(call === 'write' && { writev: fail }) } };
  }
}

function refusal(fault: 'full' | 'broken' | 'short', syscall: string, path: string): Error {
  const code = fault === 'broken' ? 'EIO' : 'ENOSPC';
  return Object.assign(new Error(`${code}: made by a test, ${syscall} '${path}'`), { code, errno: -5, syscall, path });
}

/** What sort of file it is: in which folder, how deep, and what its name ends in. */
function sortOf(path: string): string {
  const [top = '', ...rest] = path.split('/').filter((part) => part !== '');
  const name = rest.pop() ?? '';
  const [first, ...ends] = name.split('.').filter((part) => !/[0-9a-f-]{8,}|\d/.test(part));
  // Those of many tables are all alike.
  const end = ends.length > 2 ? ['*', ...ends.slice(-2)] : ends;
  return [top, ...rest.map(() => '*'), ends.length === 0 ? '*' : [first, ...end].join('.')].join('/');
}

const half = (content: unknown): Uint8Array => {
  const bytes = typeof content === 'string' ? Buffer.from(content) : (content as Uint8Array);
  return bytes.subarray(0, bytes.byteLength >> 1);
};

function cutOff(path: string): void {
  const there = statSync(path, { throwIfNoEntry: false });
  if (there?.isFile()) truncateSync(path, there.size >> 1);
}

const asked = process.env['FAULTY_DISK'];
if (asked !== undefined) {
  const { folder, seed, share, until } = JSON.parse(asked) as {
    folder: string;
    seed: number;
    share: number;
    /** ms since 1970: after this nothing fails. */
    until: number;
  };
  let state = (seed ^ process.pid) >>> 0;
  const random = () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 4294967296;
  };
  new FaultyDisk(folder).watch(() =>
    Date.now() < until && random() < share ? diskFaults[Math.floor(random() * diskFaults.length)] : undefined,
  );
}
