// Rollback decisions from real causes: a lock, a revoked privilege, rows removed and changed behind the migration's back, an incident.
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { sampleEvidence } from '../../activities/evidence.ts';
import type { Resources } from '../../activities/resources.ts';
import { decide, defaultPolicy, undecided, type Decision, type Evidence } from '../../core/decision.ts';
import { evidenceSchema } from '../../core/evidence.ts';
import { World } from '../support/world.ts';

let world: World;
let resources: Resources;
const collections = [
  'token_usage',
  'subscription_users',
  'analysis_results',
  'sessions',
  'metadata',
  'stock_daily_quotes',
];

beforeAll(async () => {
  world = await World.open('decision');
  await world.seed(8000, 0.02);
  await world.worker();
  expect((await world.causeway(['start', '--until', 'data', '--wait'])).code).toBe(0);
  resources = await world.resources();
  await world.rows(`create role app_${process.pid} nologin`);
  await world.rows(`grant select on all tables in schema public to app_${process.pid}`);
});
afterAll(async () => {
  await world.rows(`drop owned by app_${process.pid}; drop role app_${process.pid}`);
  await resources.close();
  await world.close();
});

let evidence: Evidence[] = [];
let decision: Decision = decide([], defaultPolicy);
/** One sampling interval, and what is decided then. */
async function interval(more: Partial<Evidence> = {}): Promise<Decision> {
  const settings = { zone: 'Asia/Shanghai', providers: [] };
  const order = { collections, windowSeconds: 10, settings, probeRole: `app_${process.pid}` };
  const sampled = await sampleEvidence(resources, order, () => undefined);
  expect(evidenceSchema.parse(sampled)).toEqual(sampled);
  evidence = [...evidence, { ...sampled, ...more }].slice(-6);
  decision = decide(evidence, defaultPolicy, JSON.parse(JSON.stringify(decision.state)) as Decision['state']);
  return decision;
}
const within = async (intervals: number): Promise<Decision> => {
  for (let n = 1; n < intervals; n++) if ((await interval()).action === 'rollback') return decision;
  return interval();
};
const about = () => JSON.stringify({ reasons: decision.reasons, evidence: evidence.at(-1) });

beforeEach(() => {
  evidence = [];
  decision = { ...undecided.last, state: undecided };
});
// Every test leaves the world well.
afterEach(async () => {
  evidence = [];
  decision = { ...undecided.last, state: undecided };
  expect(
    (await interval()).reasons.filter((one) => one.severity !== 'low'),
    about(),
  ).toEqual([]);
});

test('a healthy system: everything is checked, nothing is found', async () => {
  for (let n = 0; n < 3; n++) expect((await interval()).action, about()).not.toBe('rollback');
  const last = evidence.at(-1)!;
  for (const [name, its] of Object.entries(last.collections)) {
    expect(its.validation.unchecked, name).toBeUndefined();
    expect(its.validation.checked, name).toBeGreaterThan(0);
    expect([its.probes.old.errors, its.probes.new.errors]).toEqual([0, 0]);
    expect([its.probes.old.reads, its.probes.new.reads]).toEqual([5, 5]);
  }
});

test('queries slowed by a lock: expedited within two intervals', async () => {
  const holder = new pg.Client({ connectionString: world.environment['TARGET_POSTGRES_URL'] });
  await holder.connect();
  try {
    await holder.query('begin; lock table api_usage in access exclusive mode');
    const { action, mode, severity, reasons } = await within(2);
    expect({ action, mode, severity }, about()).toEqual({ action: 'rollback', mode: 'expedited', severity: 'high' });
    expect(reasons[0]).toMatchObject({
      trigger: 'query_time_increase',
      collection: 'token_usage',
      source: 'probes',
      threshold: 3,
    });
    expect(evidence.at(-1)!.collections['token_usage']!.validation.unchecked).toContain('api_usage');
  } finally {
    await holder.end();
  }
});

test('errors by a revoked privilege: expedited within two intervals', async () => {
  await world.rows(`revoke select on users from app_${process.pid}`);
  try {
    const { action, mode, severity, reasons } = await within(2);
    expect({ action, mode, severity }, about()).toEqual({ action: 'rollback', mode: 'expedited', severity: 'high' });
    expect(reasons[0]).toMatchObject({
      trigger: 'error_rate_increase',
      collection: 'subscription_users',
      observed: 1,
      threshold: 0.05,
    });
  } finally {
    await world.rows(`grant select on users to app_${process.pid}`);
  }
});

/** Runs `hurt`, decides, and puts the table back as it was. */
async function hurting<T>(table: string, hurt: string, decided: () => Promise<T>): Promise<T> {
  await world.rows(`create table public.kept as select * from ${table}`);
  await world.rows(hurt);
  try {
    return await decided();
  } finally {
    await world.rows(
      `begin; delete from ${table}; insert into ${table} overriding system value select * from public.kept; drop table public.kept; commit`,
    );
  }
}
const some = (table: string, count: number) =>
  `(source_id, timestamp) in (select source_id, timestamp from ${table} order by md5(source_id) limit ${count})`;

test('100 rows deleted behind the back of the migration: expedited at once; 99: none', async () => {
  await hurting('api_usage', `delete from api_usage where ${some('api_usage', 99)}`, async () => {
    expect((await within(2)).mode, about()).not.toBe('expedited');
    expect(decision.reasons.map((one) => one.trigger)).not.toContain('missing_records');
    expect(evidence.at(-1)!.collections['token_usage']!.validation.missing).toBe(99);
    await world.rows(`delete from api_usage where ${some('api_usage', 1)}`);
    const { action, mode, reasons } = await within(2);
    expect({ action, mode }, about()).toEqual({ action: 'rollback', mode: 'expedited' });
    expect(reasons.find((one) => one.trigger === 'missing_records')).toMatchObject({ observed: 100, threshold: 100 });
  });
});

test('10 rows changed behind the back of the migration: expedited within two intervals; 9: none', async () => {
  await hurting('market_data', `update market_data set close = close + 1 where ${some('market_data', 9)}`, async () => {
    expect((await within(2)).mode, about()).not.toBe('expedited');
    expect(decision.reasons.map((one) => one.trigger)).not.toContain('corrupted_records');
    expect(evidence.at(-1)!.collections['stock_daily_quotes']!.validation.corrupted).toBe(9);
    await world.rows(`update market_data set close = close + 1 where ${some('market_data', 10)}`);
    const { action, mode, reasons } = await within(2);
    expect({ action, mode }, about()).toEqual({ action: 'rollback', mode: 'expedited' });
    expect(reasons.find((one) => one.trigger === 'corrupted_records')).toMatchObject({ observed: 10, threshold: 10 });
  });
});

test('documents removed from the target MongoDB are missing', async () => {
  const target = world.target.collection('analysis_results_optimized');
  const gone = await target.find({}, { promoteValues: false, promoteLongs: false }).limit(120).toArray();
  await target.deleteMany({ _id: { $in: gone.map((one) => one._id) } });
  try {
    const { action, reasons } = await within(2);
    expect(action, about()).toBe('rollback');
    expect(reasons.find((one) => one.trigger === 'missing_records')?.observed, about()).toBe(gone.length);
  } finally {
    await target.insertMany(gone);
  }
});

test('writes of the application, and rows that follow them, are no failures', async () => {
  const usage = world.source.collection('token_usage');
  const users = world.source.collection('subscription_users');
  let writing = true;
  const writer = (async () => {
    const ids = (
      await usage
        .find({}, { projection: { _id: 1 } })
        .limit(50)
        .toArray()
    ).map((one) => one._id);
    for (let n = 0; writing; n++) {
      await usage.updateOne({ _id: ids[n % ids.length]! }, { $set: { output_tokens: n } });
      // A user who comes back has another id, and the rows that follow him change behind their documents.
      const user = n % 10 === 0 ? await users.findOne({}) : null;
      if (user) {
        await users.deleteOne({ _id: user._id });
        await users.insertOne(user);
      }
      await sleep(20);
    }
  })();
  try {
    for (let n = 0; n < 4; n++) {
      await interval();
      expect(
        decision.reasons.filter((one) => /records|validation/.test(one.trigger)),
        about(),
      ).toEqual([]);
      for (const its of Object.values(evidence.at(-1)!.collections)) expect(its.validation.corrupted, about()).toBe(0);
    }
  } finally {
    writing = false;
    await writer;
  }
});

test('an incident: immediate, in its interval', async () => {
  const { action, mode, severity, reasons } = await interval({ incidents: [{ kind: 'security_breach' }] });
  expect({ action, mode, severity }).toEqual({ action: 'rollback', mode: 'immediate', severity: 'critical' });
  expect(reasons[0]!.trigger).toBe('security_breach');
  await interval();
});
