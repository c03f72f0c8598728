// Secrets taken out of values that people will read: quarantined documents, configuration files, printed rows.

const names =
  /^(.*[_.-])?(password|passwd|pwd|passphrase|secret|api_?key|access_?key|private_?key|client_?secret|api_?secret|auth_?token|access_?token|refresh_?token|id_?token|bearer|authorization|credentials?|cookie|token|jwt)([_.-](hash|value|plain|encrypted))?$/;
const harmless = /(input|output|max|total|used|prompt|completion)_?tokens?|tokens?_?(used|count|limit)$/;

/** `hashedPassword`, `api-key`, `llm.apiKey` and `API_SECRET` are secrets; `input_tokens` is none. */
export function isSecretName(name: string): boolean {
  const plain = name.replace(/([a-z0-9])([A-Z])/g, '$1_$2').toLowerCase();
  return names.test(plain) && !harmless.test(plain);
}

const placeholder = '[redacted]';

/** The value with every secret-looking field's content replaced, however deep; empty ones stay, they hide nothing. */
export function redact(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(redact);
  if (value === null || typeof value !== 'object') return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, inner]) => [
      key,
      isSecretName(key) && !isEmpty(inner) ? placeholder : redact(inner),
    ]),
  );
}

const isEmpty = (value: unknown): boolean =>
  value === null || value === undefined || value === '' || typeof value === 'boolean';
