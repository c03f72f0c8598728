// Secrets taken out of values that people will read: quarantined documents, configuration files, printed rows.

const alone = new Set([
  'password',
  'passwd',
  'pwd',
  'passphrase',
  'secret',
  'secrets',
  'credential',
  'credentials',
  'authorization',
  'bearer',
  'jwt',
  'cookie',
  'apikey',
  'accesskey',
  'privatekey',
]);
const pairs = new Set([
  'api key',
  'access key',
  'private key',
  'secret key',
  'auth token',
  'access token',
  'refresh token',
  'id token',
  'bot token',
  'session token',
]);

/** `hashedPassword`, `api-key`, `dashscope_api_key_2` and `API_SECRET` are secrets; `input_tokens` is none, a lone `token` is. */
export function isSecretName(name: string): boolean {
  const words = name
    .replace(/([a-z0-9])([A-Z])/g, '$1_$2')
    .toLowerCase()
    .split(/[^\p{L}]+/u)
    .filter(Boolean);
  return (
    words.some((word, i) => alone.has(word) || pairs.has(`${word} ${words[i + 1]}`)) ||
    (words.at(-1) === 'token' && words.length <= 2 && words[0] !== 'max')
  );
}

const placeholder = '[redacted]';

/** The value with every secret-looking field's content replaced, however deep; empty ones and flags stay, they hide nothing. */
export function redact(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(redact);
  if (value === null || typeof value !== 'object') return value;
  const named = namesSecret(value);
  return Object.fromEntries(
    Object.entries(value).map(([key, inner]) => [
      key,
      (isSecretName(key) || (named && /^(config_?)?value$/i.test(key))) && !isEmpty(inner)
        ? placeholder
        : redact(inner),
    ]),
  );
}

/** `{ key: "dashscope_api_key", value: ... }`: a setting whose name is itself a value. */
function namesSecret(value: object): boolean {
  const { key, name, config_name: setting } = value as Record<string, unknown>;
  return [key, name, setting].some((one) => typeof one === 'string' && isSecretName(one));
}

const isEmpty = (value: unknown): boolean =>
  value === null || value === undefined || value === '' || typeof value === 'boolean';
