// A URL that cannot be used is refused by name, and no part of a password is ever shown.
import { expect, test } from 'vitest';
import { explain } from '../../cli/errors.ts';
import { hostText, readAddress, safeAddress } from '../../stores/address.ts';
import { openMongo } from '../../stores/mongodb/connection.ts';
import { clientConfig } from '../../stores/postgres/connection.ts';
import { openRedis, readRedisUrl } from '../../stores/redis/connection.ts';
import { readEnvironment } from '../../workers/environment.ts';

const valid: Record<string, string> = {
  TEMPORAL_ADDRESS: 'localhost:7233',
  SOURCE_MONGODB_URL: 'mongodb://a.example:27017/app',
  TARGET_POSTGRES_URL: 'postgres://b.example:5432/app',
  TARGET_MONGODB_URL: 'mongodb://c.example:27017/app',
  TARGET_REDIS_URL: 'redis://d.example:6379/0',
};
const variables = Object.keys(valid).filter((variable) => variable.endsWith('_URL'));
const schemeOf = (variable: string) => valid[variable]!.split('://', 1)[0]!;

/** Everything but the host is a secret: none of its pieces may be seen. */
const logins = [
  'usr:p@zzq:w/rqd@',
  'usr:12/zzq@',
  'usr:12?zzq@',
  'usr:zzq#rqd@',
  'usr:zzq/12@rqd@',
  'usr:zzq%zz@',
  'usr:zzq%@',
  'usr:zzq:rqd@',
  'usr:zz q@',
  'usr:[zzq@',
  'usr:zzq,rqd@',
  ':zzq/rqd@',
  'zzq@rqd:usr@',
];
const secret = /usr|zzq|rqd|zz q/;

test.each(logins.flatMap((login) => variables.map((variable) => [variable, login] as const)))(
  '%s with the login %s shows nothing of it',
  (variable, login) => {
    for (const rest of ['host.example:9/app', 'host.example/0?x=1', '[::1]:9/0']) {
      const url = `${schemeOf(variable)}://${login}${rest}`;
      expect(safeAddress(url)).not.toMatch(secret);
      const attempts: (() => unknown)[] = [
        () => readEnvironment({ ...valid, [variable]: url }),
        () =>
          variable.includes('MONGODB')
            ? openMongo(url, 'source')
            : variable.includes('POSTGRES')
              ? clientConfig(url)
              : openRedis(url),
      ];
      for (const attempt of attempts) {
        try {
          attempt();
        } catch (error) {
          expect(explain(error)).toMatchObject({ code: 2 });
          expect(explain(error).message).not.toMatch(secret);
          expect(String((error as Error).stack)).not.toMatch(secret);
        }
      }
    }
  },
);

test('a password that needs it is written percent-encoded, and arrives decoded in every driver', () => {
  const login = `${encodeURIComponent('us:er@x')}:${encodeURIComponent('p@ss:w/rd%?#[]')}`;
  const mongo = openMongo(`mongodb://${login}@[::1]:27099,h2.example/d%20b?replicaSet=r`, 'source');
  expect(mongo.client.options.credentials).toMatchObject({ username: 'us:er@x', password: 'p@ss:w/rd%?#[]' });
  expect(mongo.client.options.hosts.map((host) => host.toString())).toEqual(['[::1]:27099', 'h2.example:27017']);
  expect(mongo.db.databaseName).toBe('d b');
  expect(clientConfig(`postgres://${login}@[::1]:5499/a%40b%2Fc`)).toMatchObject({
    user: 'us:er@x',
    password: 'p@ss:w/rd%?#[]',
    host: '::1',
    port: 5499,
    database: 'a@b/c',
  });
  expect(readRedisUrl(`rediss://${login}@[::1]:6399/3`)).toMatchObject({
    nodes: [{ host: '::1', port: 6399 }],
    database: 3,
    login: { user: 'us:er@x', password: 'p@ss:w/rd%?#[]' },
    tls: {},
  });
  expect(readRedisUrl(`redis://${login}@[::1]:7001,redis://h2:7002`)).toMatchObject({
    nodes: [
      { host: '::1', port: 7001 },
      { host: 'h2', port: 7002 },
    ],
    login: { user: 'us:er@x', password: 'p@ss:w/rd%?#[]' },
  });
});

test.each([
  ['mongodb://::1:27017/app', 'brackets'],
  ['mongodb://host:70000/app', 'between 1 and 65535'],
  ['mongodb://host:port/app', 'a port is a number'],
  ['mongodb://host/app\n', 'line break'],
  ['host:27017', '://'],
])('%s is told apart', (url, why) => expect(() => readAddress(url)).toThrow(why));

test('what cannot be used is refused by name', () => {
  expect(() => openMongo('mongodb://u:zzq@host:1', 'target')).toThrow('target MongoDB, host:1, names no database');
  expect(() => openMongo('mongodb://host:1/app?replicasett=zzq', 'source')).toThrow('replicasett');
  expect(() => openMongo('mongodb://host:1/app?replicasett=zzq', 'source')).not.toThrow('zzq');
  expect(() => clientConfig('postgres://a:1,b:2/app')).toThrow('several servers');
  expect(() => clientConfig('postgres://a/app?sslmode=verify-full&sslrootcert=/no/such.pem')).toThrow('/no/such.pem');
  expect(() => readRedisUrl('rediss://a?cacert=/no/such.pem')).toThrow('/no/such.pem');
  expect(() => readRedisUrl('redis://a/app')).toThrow('number of a database');
  expect(() => readRedisUrl('redis://a,b/3')).toThrow('a cluster has only that');
});

test('addresses as a person reads them', () => {
  expect(safeAddress('mongodb://u:p@a:1,[::1]:2/app?x=y')).toBe('a:1,[::1]:2/app');
  expect(safeAddress('mongodb+srv://u:p@cluster.example/app')).toBe('cluster.example/app');
  expect(safeAddress('redis://:p@a:1,redis://b:2')).toBe('a:1,b:2');
  expect(safeAddress('postgres://u:p@/app?host=/run/postgresql')).toBe('/run/postgresql/app');
  expect(hostText({ name: '::1', port: undefined }, 5432)).toBe('[::1]:5432');
});

test('what the protocol stands on is not changed by options of a URL; time-outs are', () => {
  const weak =
    'w=0&journal=false&readPreference=secondary&retryWrites=false&serverSelectionTimeoutMS=400&promoteValues=true';
  const { options } = openMongo(`mongodb://host/app?${weak}`, 'source').client;
  expect(options.writeConcern).toMatchObject({ w: 'majority' });
  expect(options.readPreference.mode).toBe('primary');
  expect(options).toMatchObject({ retryWrites: true, serverSelectionTimeoutMS: 400, promoteValues: false });
});

test.each(['', '250', '1000'])('CAUSEWAY_SETTLING_MS %j is taken', (value) => {
  expect(readEnvironment({ ...valid, CAUSEWAY_SETTLING_MS: value }).addresses.source).toBe(valid['SOURCE_MONGODB_URL']);
});

test.each(['0', '-1', '1s', '1e3', '0.5'])('CAUSEWAY_SETTLING_MS %j is refused', (value) => {
  expect(() => readEnvironment({ ...valid, CAUSEWAY_SETTLING_MS: value })).toThrow(
    /CAUSEWAY_SETTLING_MS .*milliseconds/,
  );
});
