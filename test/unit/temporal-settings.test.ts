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

test('an IPv6 address is taken as it is, and over TLS with a name to look for', () => {
  const at = { TEMPORAL_ADDRESS: '[::1]:7233' };
  expect(readTemporal(at)).toMatchObject({ address: '[::1]:7233', options: {} });
  const read = readTemporal({ ...at, TEMPORAL_TLS: 'true', TEMPORAL_TLS_SERVER_NAME: 'temporal.example.org' });
  expect(read!.options.tls).toMatchObject({ serverNameOverride: 'temporal.example.org' });
  expect(readTemporal({ TEMPORAL_ADDRESS: '127.0.0.1:7233', TEMPORAL_TLS: 'true' })).toBeDefined();
});

test.each([
  [{ TEMPORAL_TLS_CLIENT_CERT_DATA: 'secret' }, /only one is set/],
  [{ TEMPORAL_TLS_SERVER_CA_CERT_PATH: '/does/not/exist' }, /\/does\/not\/exist, which cannot be read \(ENOENT\)/],
  [{ TEMPORAL_ADDRESS: '[::1]:7233', TEMPORAL_TLS: 'true' }, /IPv6 address is no name.*TEMPORAL_TLS_SERVER_NAME/],
  [
    { TEMPORAL_ADDRESS: '[::1]:7233', TEMPORAL_TLS: 'true', TEMPORAL_TLS_SERVER_NAME: '::1' },
    /set TEMPORAL_TLS_SERVER_NAME to a DNS name/,
  ],
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
