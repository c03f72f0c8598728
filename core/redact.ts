// Secrets taken out of values that people will read: quarantined documents, configuration files, printed rows.

const alone = new Set([
  'password',
  'passwd',
  'pwd',
  'passphrase',
  'passcode',
  'secret',
  'secrets',
  'credential',
  'credentials',
  'authorization',
  'bearer',
  'jwt',
  'cookie',
  'cookies',
  'apikey',
  'accesskey',
  'privatekey',
  'otp',
  'totp',
]);
const pairs = new Set(
  ['api', 'access', 'private', 'secret', 'signing', 'encryption', 'master', 'ssh', 'hmac', 'license', 'client']
    .map((first) => `${first} key`)
    .concat(
      [
        'auth',
        'access',
        'refresh',
        'id',
        'bot',
        'session',
        'csrf',
        'reset',
        'verification',
        'device',
        'bearer',
        'api',
      ].map((first) => `${first} token`),
    ),
);
/** Written together, in any case, and as the application's own language has them. */
const within =
  /password|passwd|passphrase|apikey|apitoken|secretkey|privatekey|accesskey|signingkey|encryptionkey|authtoken|accesstoken|refreshtoken|sessiontoken|bottoken|bearertoken|clientsecret|appsecret|apisecret|密码|密钥|口令|令牌|私钥/;

/** `hashedPassword`, `api-key`, `dashscope_api_key_2` and `API_SECRET` are secrets; `input_tokens` is none, a lone `token` is. */
export function isSecretName(name: string): boolean {
  const words = name
    .normalize('NFKC')
    .replace(/([a-z0-9])([A-Z])/g, '$1_$2')
    .toLowerCase()
    .split(/[^\p{L}]+/u)
    .filter(Boolean);
  return (
    words.some((word, i) => alone.has(word) || within.test(word) || pairs.has(`${word} ${words[i + 1]}`)) ||
    (words.at(-1) === 'token' && words.length <= 2 && words[0] !== 'max')
  );
}

const placeholder = '[redacted]';

/**
 * The value with every secret-looking field's content replaced, however deep, also in JSON kept as text; empty ones and flags stay,
 * they hide nothing. In other text the passwords of addresses and what stands after a secret's name go.
 */
export function redact(value: unknown): unknown {
  if (typeof value === 'string') return redactText(value);
  if (Array.isArray(value)) return value.map(redact);
  if (value === null || typeof value !== 'object') return value;
  const named = namesSecret(value);
  return Object.fromEntries(
    Object.entries(value).map(([key, inner]) => [
      key,
      (isSecretName(key) || (named && /^((config|default|old|new)_?)?(value|val|v)$/i.test(key))) && !isEmpty(inner)
        ? placeholder
        : redact(inner),
    ]),
  );
}

/** `{ key: "dashscope_api_key", value: ... }`, `{ k: "password", v: ... }`: a setting whose name is itself a value. */
function namesSecret(value: object): boolean {
  const { key, name, k, field, config_name: setting, config_key: other } = value as Record<string, unknown>;
  return [key, name, k, field, setting, other].some((one) => typeof one === 'string' && isSecretName(one));
}

const isEmpty = (value: unknown): boolean =>
  value === null || value === undefined || value === '' || typeof value === 'boolean';

const address = /\b([a-z][a-z0-9+.-]{0,20}:\/\/[^\s:@/?#]{0,200}):[^\s@/]{1,500}@/gi;
const bearer = /\b(bearer|basic)\s{1,3}[A-Za-z0-9._~+/=-]{8,}/gi;
/** Bounded everywhere, so that no text makes it slow. */
const assignment = /(["']?)([\p{L}][\p{L}\p{N}_.-]{0,60})\1(\s{0,3}[=:]\s{0,3})("[^"]*"|'[^']*'|[^\s,;&"'}\]]+)/gu;

function redactText(text: string): string {
  if (/^\s*[{[]/.test(text)) {
    const json = parsed(text);
    if (json !== undefined) {
      const clean = JSON.stringify(redact(json));
      return clean === JSON.stringify(json) ? text : clean;
    }
  }
  if (!/[:=]|bearer|basic/i.test(text)) return text;
  return text
    .replace(address, `$1:${placeholder}@`)
    .replace(bearer, `$1 ${placeholder}`)
    .replace(assignment, (whole: string, quote: string, name: string, sign: string, value: string) =>
      isSecretName(name) && !value.startsWith(placeholder.slice(0, -1))
        ? `${quote}${name}${quote}${sign}${placeholder}`
        : whole,
    );
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
