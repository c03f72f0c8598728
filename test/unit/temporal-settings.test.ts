// Temporal's own variables: what they become, and what is refused with a sentence that repeats no secret.
import { expect, test } from 'vitest';
import { readTemporal } from '../../workers/temporal.ts';

test('address and namespace alone ask without TLS', () => {
  expect(readTemporal({ TEMPORAL_ADDRESS: 'host:7233' })).toEqual({
    address: 'host:7233',
    namespace: 'default',
    options: {},
  });
  expect(readTemporal({})).toBeUndefined();
});

test('TLS, an API key and headers are those of the temporal CLI', () => {
  const read = readTemporal({
    TEMPORAL_ADDRESS: 'host:7233',
    TEMPORAL_NAMESPACE: 'ns',
    TEMPORAL_TLS_SERVER_CA_CERT_DATA: 'ca',
    TEMPORAL_TLS_CLIENT_CERT_DATA: 'cert',
    TEMPORAL_TLS_CLIENT_KEY_DATA: 'key',
    TEMPORAL_TLS_SERVER_NAME: 'name',
    TEMPORAL_API_KEY: 'secret',
    TEMPORAL_GRPC_META_X_TEAM: 'blue',
  })!;
  const text = (bytes: unknown) => Buffer.from(bytes as Uint8Array).toString();
  const tls = read.options.tls as {
    serverRootCACertificate: Uint8Array;
    clientCertPair: { crt: Uint8Array; key: Uint8Array };
    serverNameOverride: string;
  };
  expect([
    text(tls.serverRootCACertificate),
    text(tls.clientCertPair.crt),
    text(tls.clientCertPair.key),
    tls.serverNameOverride,
  ]).toEqual(['ca', 'cert', 'key', 'name']);
  expect(read).toMatchObject({ namespace: 'ns', options: { apiKey: 'secret', metadata: { 'x-team': 'blue' } } });
  expect(readTemporal({ TEMPORAL_ADDRESS: 'h:1', TEMPORAL_API_KEY: 'secret' })!.options.tls).toBe(true);
});

test.each([
  [{ TEMPORAL_TLS_CLIENT_CERT_DATA: 'secret' }, /only one is set/],
  [{ TEMPORAL_TLS_SERVER_CA_CERT_PATH: '/does/not/exist' }, /\/does\/not\/exist, which cannot be read \(ENOENT\)/],
  [{ TEMPORAL_TLS_DISABLE_HOST_VERIFICATION: 'true' }, /is not supported/],
])('%o is refused', (values, sentence) => {
  let said = '';
  try {
    readTemporal({ TEMPORAL_ADDRESS: 'h:1', ...values });
  } catch (error) {
    said = (error as Error).message;
  }
  expect(said).toMatch(sentence);
  expect(said).not.toContain('secret');
});
