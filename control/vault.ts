// Quarantined documents encrypted at rest: AES-256-GCM with a key from the environment, bound to the document they are of.
import { createCipheriv, createDecipheriv, createHash, randomBytes } from 'node:crypto';

export const keyVariable = 'CAUSEWAY_QUARANTINE_KEY';

/** As `migration_errors.document` holds it. `data`: base64 of nonce (12 bytes), tag (16 bytes) and ciphertext. */
export interface Sealed {
  readonly encrypted: 'v1';
  readonly key: string;
  readonly data: string;
}

/** Which document: additional data of the encryption, so that a ciphertext moved to another row is refused. */
export interface Place {
  readonly collection: string;
  readonly sourceId: string;
}

/** Says what to do; never holds a key or a document. */
export class VaultError extends Error {
  override readonly name = 'VaultError';
}

const algorithm = 'aes-256-gcm';
const nonceBytes = 12;
const tagBytes = 16;

interface Key {
  readonly id: string;
  readonly secret: Buffer;
}

export class Vault {
  readonly #keys: readonly Key[];

  private constructor(keys: readonly Key[]) {
    this.#keys = keys;
  }

  /** `text`: keys of 32 bytes in hex or base64, separated by commas; the first encrypts, all decrypt. Throws VaultError without repeating it. */
  static from(text: string | undefined): Vault {
    const parts = (text ?? '')
      .split(',')
      .map((part) => part.trim())
      .filter((part) => part !== '');
    return new Vault(parts.map(keyOf));
  }

  /** Ids of the keys, the one that encrypts first; empty: nothing can be encrypted. */
  get ids(): readonly string[] {
    return this.#keys.map((key) => key.id);
  }

  /** undefined without a key. */
  seal(place: Place, plain: Uint8Array): Sealed | undefined {
    const key = this.#keys[0];
    if (!key) return undefined;
    const nonce = randomBytes(nonceBytes);
    const cipher = createCipheriv(algorithm, key.secret, nonce, { authTagLength: tagBytes });
    cipher.setAAD(additional(place));
    const text = Buffer.concat([cipher.update(plain), cipher.final()]);
    return {
      encrypted: 'v1',
      key: key.id,
      data: Buffer.concat([nonce, cipher.getAuthTag(), text]).toString('base64'),
    };
  }

  /** Throws VaultError where the key is not here, or the data is not what was written for this document. */
  open(place: Place, sealed: Sealed): Buffer {
    const key = this.#keys.find((one) => one.id === sealed.key);
    if (!key)
      throw new VaultError(
        `The document is encrypted with key ${sealed.key}; ${this.#keys.length === 0 ? `${keyVariable} is not set` : `${keyVariable} holds ${this.ids.join(', ')}`}. Set it to the key that was in force then, behind a comma if there is another.`,
      );
    const data = Buffer.from(sealed.data, 'base64');
    try {
      const decipher = createDecipheriv(algorithm, key.secret, data.subarray(0, nonceBytes), {
        authTagLength: tagBytes,
      });
      decipher.setAAD(additional(place));
      decipher.setAuthTag(data.subarray(nonceBytes, nonceBytes + tagBytes));
      return Buffer.concat([decipher.update(data.subarray(nonceBytes + tagBytes)), decipher.final()]);
    } catch {
      throw new VaultError(
        `The document does not decrypt with its key ${key.id}: the row was changed after it was written, or belongs to another document. The source still has the document: \`causeway quarantine retry\` reads it again.`,
      );
    }
  }
}

function keyOf(text: string): Key {
  const secret = /^[0-9a-f]{64}$/i.test(text) ? Buffer.from(text, 'hex') : fromBase64(text);
  if (secret?.length !== 32)
    throw new VaultError(
      `${keyVariable} must hold keys of 32 bytes in base64 or hex, separated by commas. \`openssl rand -base64 32\` makes one.`,
    );
  return {
    id: createHash('sha256').update('causeway quarantine key').update(secret).digest('hex').slice(0, 12),
    secret,
  };
}

/** Buffer takes anything for base64; only what is spelled as it would be written back is. */
function fromBase64(text: string): Buffer | undefined {
  const plain = text.replace(/-/g, '+').replace(/_/g, '/').replace(/=+$/, '');
  const bytes = Buffer.from(plain, 'base64');
  return bytes.toString('base64').replace(/=+$/, '') === plain ? bytes : undefined;
}

const additional = ({ collection, sourceId }: Place): Buffer => Buffer.from(JSON.stringify([collection, sourceId]));

export function isSealed(document: unknown): document is Sealed {
  if (document === null || typeof document !== 'object') return false;
  const { encrypted, key, data, ...more } = document as Record<string, unknown>;
  return encrypted === 'v1' && typeof key === 'string' && typeof data === 'string' && Object.keys(more).length === 0;
}

let known: { readonly text: string | undefined; readonly vault: Vault } | undefined;

/** The vault of this process: its environment's key, read where it is used, so that no writer can be without it. Throws VaultError. */
export function ownVault(): Vault {
  const text = process.env[keyVariable];
  if (!known || known.text !== text) known = { text, vault: Vault.from(text) };
  return known.vault;
}
