// The checker's look at Redis: each live session has its key, with its expiry, and no other key is there.
import type { Redis } from 'ioredis';
import { sessionExpiry } from './checker-people.ts';
import { micros, text, unclear, type SourceDocument, type Unclear } from './checker-values.ts';

const prefix = 'session:';
/** Less than this to live, in ms: the key may have gone, or not have been worth writing. */
const dying = 30_000;
/** Between a clock read here and one read there. */
const tolerance = 5000;

export interface LiveSession {
  readonly sourceId: string;
  readonly sessionId: string;
  /** ms since 1970; null where the session has no end, and no key. */
  readonly expires: number | null | Unclear;
  readonly status: string | null | Unclear;
  readonly activity: number | null | Unclear;
}

export interface WrongKey {
  readonly sourceId: string;
  readonly what: string;
}

/** What Redis should know of a session that was loaded; undefined where its id has no plain reading. `plain`: its other fields have one. */
export function liveSession(document: SourceDocument, sourceId: string, plain: boolean): LiveSession | undefined {
  const sessionId = document['session_id'] ?? document['sessionId'];
  if (typeof sessionId !== 'string') return undefined;
  return {
    sourceId,
    sessionId: sessionId.replaceAll('\u0000', ''),
    expires: plain ? sessionExpiry(document) : unclear,
    status: plain ? text(document['status']) : unclear,
    activity: plain ? micros(document['last_activity']) : unclear,
  };
}

interface Found {
  readonly value: string;
  /** As PTTL says it: -1 without an expiry. */
  readonly left: number;
}

export async function wrongKeys(redis: Redis, sessions: readonly LiveSession[]): Promise<WrongKey[]> {
  const keys = new Set<string>();
  for await (const batch of redis.scanStream({ match: `${prefix}*`, count: 1000 }) as AsyncIterable<string[]>)
    for (const key of batch) keys.add(key);
  const wrong: WrongKey[] = [];
  for (let i = 0; i < sessions.length; i += 1000) {
    const batch = sessions.slice(i, i + 1000);
    const found = await read(redis, batch);
    const now = Date.now();
    batch.forEach((session, at) => {
      keys.delete(prefix + session.sessionId);
      const what = judge(session, found[at], now);
      if (what !== undefined) wrong.push({ sourceId: session.sourceId, what: `${prefix}${session.sessionId} ${what}` });
    });
  }
  // A key that expired since the scan is no surprise.
  for (const key of keys)
    if ((await redis.exists(key)) === 1) wrong.push({ sourceId: key, what: 'extra: a key without a loaded session' });
  return wrong;
}

async function read(redis: Redis, sessions: readonly LiveSession[]): Promise<(Found | undefined)[]> {
  return Promise.all(
    sessions.map(async ({ sessionId }) => {
      const [value, left] = await Promise.all([redis.get(prefix + sessionId), redis.pttl(prefix + sessionId)]);
      return value === null ? undefined : { value, left };
    }),
  );
}

function judge({ sessionId, expires, status, activity }: LiveSession, found: Found | undefined, now: number) {
  const left = typeof expires === 'number' ? expires - now : undefined;
  if (!found) return left !== undefined && left > dying ? `is not there, with ${left} ms to live` : undefined;
  // PTTL says -2 of a key that expired between the two commands.
  if (found.left === -2) return undefined;
  if (found.left < 0) return 'has no expiry';
  if (expires === null) return 'is there, though the session names no end';
  if (left !== undefined && Math.abs(left - found.left) > tolerance)
    return `has ${found.left} ms to live instead of ${left}`;
  return judgeValue(found.value, { sessionId, status, activity });
}

function judgeValue(value: string, expected: Pick<LiveSession, 'sessionId' | 'status' | 'activity'>) {
  const json = parse(value);
  if (!json) return 'holds no JSON object';
  if (json['session_id'] !== expected.sessionId) return 'holds another session';
  if (expected.status !== unclear && (json['status'] ?? null) !== expected.status) return 'holds an older status';
  const used = json['last_activity'] === undefined ? null : Date.parse(String(json['last_activity']));
  if (
    expected.activity !== unclear &&
    used !== (expected.activity === null ? null : Math.floor(expected.activity / 1000))
  )
    return 'holds an older last_activity';
  return undefined;
}

function parse(value: string): Record<string, unknown> | undefined {
  try {
    const json: unknown = JSON.parse(value);
    return json !== null && typeof json === 'object' ? (json as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}
