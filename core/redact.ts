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
  const words = wordsOf(name);
  return (
    words.some((word, i) => alone.has(word) || within.test(word) || pairs.has(`${word} ${words[i + 1]}`)) ||
    (words.at(-1) === 'token' && words.length <= 2 && words[0] !== 'max')
  );
}

const wordsOf = (name: string): string[] =>
  name
    .normalize('NFKC')
    .replace(/([a-z0-9])([A-Z])/g, '$1_$2')
    .toLowerCase()
    .split(/[^\p{L}]+/u)
    .filter(Boolean);

const placeholder = '[redacted]';

/** Names of what belongs to a person, or lets somebody pass for one: hidden where values are shown, kept where they are the application's. */
const personal = new Set([
  'phone',
  'mobile',
  'telephone',
  'tel',
  'cellphone',
  'email',
  'mail',
  'sid',
  'openid',
  'unionid',
  'ssn',
]);
const personalPairs = new Set([
  'session id',
  'session key',
  'id card',
  'phone number',
  'mobile number',
  'passport number',
  'card number',
  'e mail',
]);
const personalWithin = /phone|sessionid|mobileno|手机|电话|邮箱|邮件|身份证|会话/;

function isPersonalName(name: string): boolean {
  const words = wordsOf(name);
  return (
    words.some((word, i) => personal.has(word) || personalPairs.has(`${word} ${words[i + 1]}`)) ||
    words.some((word) => personalWithin.test(word)) ||
    personalWithin.test(words.join(''))
  );
}

/** Spelled like a credential, whatever it is called. All bounded, so that no text makes them slow. */
const credentials = [
  /\b(?:sk|pk|rk)[-_][A-Za-z0-9_-]{16,200}/g,
  /\b(?:AKIA|ASIA|AROA|AIDA)[A-Z0-9]{16}\b/g,
  /\bAIza[A-Za-z0-9_-]{35}/g,
  /\b(?:gh[pousr]_[A-Za-z0-9]{20,255}|github_pat_[A-Za-z0-9_]{20,255}|glpat-[A-Za-z0-9_-]{20,100})/g,
  /\bxox[abeoprs]-[A-Za-z0-9-]{10,200}/g,
  /\b(?:hf|gsk|tvly|npm|dop_v1|shpat|SG|LTAI|AKID)[-_.]?[A-Za-z0-9]{20,100}\b/g,
  /\b\d{8,10}:[A-Za-z0-9_-]{35}\b/g,
  /\beyJ[A-Za-z0-9_-]{8,2000}\.[A-Za-z0-9_-]{8,4000}(?:\.[A-Za-z0-9_-]{0,2000})?/g,
  /\$(?:2[abxy]|argon2(?:id|i|d)|scrypt|pbkdf2-sha\d{1,3}|5|6)\$[^\s"']{20,300}/g,
  /-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----[^-]{0,20000}(?:-----END [A-Z ]{0,30}PRIVATE KEY-----)?/g,
];

/** What names a person: addresses, telephone and identity numbers, cards; and the session of a key. */
const people = [
  /[\p{L}\p{N}._%+-]{1,64}@(?:[\p{L}\p{N}-]{1,63}\.){1,8}[\p{L}]{2,24}/gu,
  /(?<![\p{L}\p{N}.])(?:\+?86[- ]?)?1[3-9]\d[- ]?\d{4}[- ]?\d{4}(?![\p{L}\p{N}]|\.\d)/gu,
  /(?<![\p{L}\p{N}])\+\d{1,3}[- (.]{0,2}\d{1,4}(?:[- ).]{0,2}\d{2,4}){2,4}(?![\p{L}\p{N}])/gu,
  /(?<![\p{L}\p{N}])\(?\d{3}\)?[- .]\d{3}[- .]\d{4}(?![\p{L}\p{N}])/gu,
  /(?<![\p{L}\p{N}])0\d{2,3}-\d{7,8}(?![\p{L}\p{N}])/gu,
  /(?<![\p{L}\p{N}])[1-9]\d{5}(?:19|20)\d{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])\d{3}[\dXx](?![\p{L}\p{N}])/gu,
  /(?<![\p{L}\p{N}])(?:\d{4}[- ]){3}\d{1,7}(?![\p{L}\p{N}])/gu,
  /(?<=\bsess(?:ion)?(?:[_-]?id)?[:/=])[A-Za-z0-9._~+/-]{8,200}/gi,
];

/**
 * The value with every secret replaced, however deep, also in JSON kept as text: the content of fields that are named like one, and what is
 * spelled like a credential; empty ones and flags stay, they hide nothing. In other text the passwords of addresses and what stands after a
 * secret's name go. What belongs to people stays: the application needs it.
 */
export const redact = (value: unknown): unknown => cleaned(value, forUse);

/** For whoever looks at a document: what belongs to people goes too. */
export const redactShown = (value: unknown): unknown => cleaned(value, forEyes);

interface Rules {
  readonly hides: (name: string) => boolean;
  readonly shapes: readonly RegExp[];
}
const forUse: Rules = { hides: isSecretName, shapes: credentials };
const forEyes: Rules = {
  hides: (name) => isSecretName(name) || isPersonalName(name),
  shapes: [...credentials, ...people],
};

function cleaned(value: unknown, rules: Rules): unknown {
  if (typeof value === 'string') return cleanedText(value, rules);
  if (typeof value === 'number' || typeof value === 'bigint')
    return rules === forEyes && isTelephone(value) ? placeholder : value;
  if (Array.isArray(value)) return value.map((inner) => cleaned(inner, rules));
  if (value === null || typeof value !== 'object') return value;
  const named = namesSecret(value, rules);
  const taken = new Set<string>();
  return Object.fromEntries(
    Object.entries(value).map(([key, inner]) => [
      rules === forEyes ? shownName(key, taken) : key,
      (rules.hides(key) || (named && /^((config|default|old|new)_?)?(value|val|v)$/i.test(key))) && !isEmpty(inner)
        ? placeholder
        : // Extended JSON: a type and its text, which is no telephone number.
          extended.test(key)
          ? inner
          : cleaned(inner, rules),
    ]),
  );
}

/** A name may be a secret as well: `{ "AKIA...": true }`. Two that are hidden stay two. */
function shownName(name: string, taken: Set<string>): string {
  const clean = forEyes.shapes.reduce((before, shape) => before.replace(shape, placeholder), name);
  let shown = clean;
  for (let n = 2; clean !== name && taken.has(shown); n++) shown = `${clean} (${n})`;
  taken.add(shown);
  return shown;
}

const extended = /^\$(?:oid|date|number(?:Int|Double|Decimal)|binary|uuid|timestamp|minKey|maxKey)$/;

/** A number of eleven digits as Chinese mobile telephones have it: it may have been meant as one, and nothing is lost by hiding another. */
const isTelephone = (value: number | bigint): boolean => /^1[3-9]\d{9}$/.test(String(value));

/** `{ key: "dashscope_api_key", value: ... }`, `{ k: "password", v: ... }`: a setting whose name is itself a value. */
function namesSecret(value: object, rules: Rules): boolean {
  const { key, name, k, field, config_name: setting, config_key: other } = value as Record<string, unknown>;
  return [key, name, k, field, setting, other].some((one) => typeof one === 'string' && rules.hides(one));
}

const isEmpty = (value: unknown): boolean =>
  value === null || value === undefined || value === '' || typeof value === 'boolean';

const address = /\b([a-z][a-z0-9+.-]{0,20}:\/\/[^\s:@/?#]{0,200}):[^\s@/]{1,500}@/gi;
const bearer = /\b(bearer|basic)\s{1,3}[A-Za-z0-9._~+/=-]{8,}/gi;
/** Bounded everywhere, so that no text makes it slow. */
const assignment = /(["']?)([\p{L}][\p{L}\p{N}_.-]{0,60})\1(\s{0,3}[=:]\s{0,3})("[^"]*"|'[^']*'|[^\s,;&"'}\]]+)/gu;

function cleanedText(text: string, rules: Rules): string {
  if (/^\s*[{[]/.test(text)) {
    const json = parsed(text);
    if (json !== undefined) {
      const clean = JSON.stringify(cleaned(json, rules));
      return clean === JSON.stringify(json) ? text : clean;
    }
  }
  let clean = text;
  if (/[:=]|bearer|basic/i.test(text))
    clean = text
      .replace(address, `$1:${placeholder}@`)
      .replace(bearer, `$1 ${placeholder}`)
      .replace(assignment, (whole: string, quote: string, name: string, sign: string, value: string) =>
        rules.hides(name) && !value.startsWith(placeholder.slice(0, -1))
          ? `${quote}${name}${quote}${sign}${placeholder}`
          : whole,
      );
  return rules.shapes.reduce((before, shape) => before.replace(shape, placeholder), clean);
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
