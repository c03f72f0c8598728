// What Causeway keeps of documents is encrypted at rest: AES-256-GCM with a key from the environment or one it makes and keeps (docs/decisions/0030-secrets-at-rest.md).
import { createCipheriv, createDecipheriv, createHash, createHmac, hkdfSync, randomBytes } from 'node:crypto';
import { KnownFailure } from '../core/failures.ts';
import { keptKey } from './kept-key.ts';

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

/** What a sealed text is; additional data as well, so that one kind is not taken for another. */
export type TextKind = 'bound' | 'redis key';

/** Says what to do; never holds a key or a document. Nobody takes it for the fault of a document. */
export class VaultError extends KnownFailure {
  constructor(message: string) {
    super('KeyMissing', message);
    this.name = 'VaultError';
  }
}

export const algorithm = 'aes-256-gcm';
export const nonceBytes = 12;
export const tagBytes = 16;

interface Key {
  readonly id: string;
  readonly secret: Buffer;
  /** For texts: their nonce is an HMAC of what they say, so that equal texts have equal ciphertexts. */
  readonly text: Buffer;
  readonly nonce: Buffer;
}

export class Vault {
  readonly #keys: readonly [Key, ...Key[]];

  private constructor(keys: readonly [Key, ...Key[]]) {
    this.#keys = keys;
  }

  /**
   * `text`: keys of 32 bytes in hex or base64, separated by commas. The first encrypts documents, all decrypt; the last is the one that the
   * migration began with, and seals texts, which are compared. Throws VaultError without repeating it.
   */
  static from(text: string): Vault {
    const [first, ...more] = text
      .split(',')
      .map((part) => part.trim())
      .filter((part) => part !== '')
      .map(keyOf);
    if (!first) throw refused();
    return new Vault([first, ...more]);
  }

  /** Ids of the keys, the one that encrypts first. */
  get ids(): readonly [string, ...string[]] {
    return this.#keys.map((key) => key.id) as [string, ...string[]];
  }

  /** Of the key that texts are sealed with: the same for as long as the migration lasts. */
  get textKey(): string {
    return this.#keys.at(-1)!.id;
  }

  seal(place: Place, plain: Uint8Array): Sealed {
    const data = encrypt(this.#keys[0].secret, randomBytes(nonceBytes), additional(place), plain);
    return { encrypted: 'v1', key: this.#keys[0].id, data: data.toString('base64') };
  }

  /** Throws VaultError where the key is not here, or the data is not what was written for this document. */
  open(place: Place, sealed: Sealed): Buffer {
    const key = this.#key(sealed.key, 'The document');
    try {
      return decrypt(key.secret, additional(place), Buffer.from(sealed.data, 'base64'));
    } catch {
      throw new VaultError(
        `The document does not decrypt with its key ${key.id}: the row was changed after it was written, or belongs to another document. The source still has the document: \`causeway quarantine retry\` reads it again.`,
      );
    }
  }

  /** A short text that is compared but need not be read in SQL: the same text gives the same ciphertext, and says nothing else. */
  sealText(kind: TextKind, text: string): string {
    const key = this.#keys.at(-1)!;
    const plain = Buffer.from(text, 'utf8');
    const nonce = createHmac('sha256', key.nonce).update(kind).update('\0').update(plain).digest();
    const data = encrypt(key.text, nonce.subarray(0, nonceBytes), Buffer.from(kind), plain);
    return `${textMark}${key.id}.${data.toString('base64url')}`;
  }

  /** Throws VaultError where the key is not here, or the text was not sealed as this kind. */
  openText(kind: TextKind, sealed: string): string {
    const what = kind === 'bound' ? "A chunk's bound" : 'A Redis key';
    const [, id, data] = /^v1\.([0-9a-f]{12})\.([A-Za-z0-9_-]+)$/.exec(sealed) ?? [];
    if (id === undefined) throw new VaultError(`${what} was not written encrypted: another program has changed it.`);
    const key = this.#key(id, what);
    try {
      return decrypt(key.text, Buffer.from(kind), Buffer.from(data!, 'base64url')).toString('utf8');
    } catch {
      throw new VaultError(`${what} does not decrypt with its key ${id}: it was changed after it was written.`);
    }
  }

  /** 32 hex digits that stand for a text where it is not to be opened again. */
  fingerprint(kind: TextKind, text: string): string {
    const { nonce } = this.#keys.at(-1)!;
    return createHmac('sha256', nonce).update(`fingerprint of a ${kind}\0`).update(text).digest('hex').slice(0, 32);
  }

  /** A document's bytes that SQL compares with what they should be: as with texts, the same bytes give the same ciphertext. */
  sealKept(plain: Uint8Array): Buffer {
    const key = this.#keys.at(-1)!;
    const nonce = createHmac('sha256', key.nonce).update(`${keptBytes}\0`).update(plain).digest();
    const sealed = encrypt(key.text, nonce.subarray(0, nonceBytes), Buffer.from(keptBytes), plain);
    return Buffer.concat([Buffer.from(key.id, 'hex'), sealed]);
  }

  openKept(sealed: Buffer): Buffer {
    const what = 'What the ledger keeps of a document';
    const key = this.#key(sealed.subarray(0, keyIdBytes).toString('hex'), what);
    try {
      return decrypt(key.text, Buffer.from(keptBytes), sealed.subarray(keyIdBytes));
    } catch {
      throw new VaultError(`${what} does not decrypt with its key ${key.id}: it was changed after it was written.`);
    }
  }

  /** Bytes on their way, bound to the place they are kept at. */
  sealBytes(place: string, plain: Uint8Array): Buffer {
    const key = this.#keys[0];
    const sealed = encrypt(key.secret, randomBytes(nonceBytes), Buffer.from(place), plain);
    return Buffer.concat([Buffer.from(key.id, 'hex'), sealed]);
  }

  openBytes(place: string, sealed: Buffer): Buffer {
    const key = this.#key(sealed.subarray(0, keyIdBytes).toString('hex'), 'What was kept');
    try {
      return decrypt(key.secret, Buffer.from(place), sealed.subarray(keyIdBytes));
    } catch {
      throw new VaultError(
        `What was kept does not decrypt with its key ${key.id}: it was changed after it was written.`,
      );
    }
  }

  /** For whole files: the secret of a key by its id, or of the one that encrypts. */
  fileKey(id?: string): { readonly id: string; readonly secret: Buffer } {
    return id === undefined ? this.#keys[0] : this.#key(id, 'The snapshot');
  }

  #key(id: string, what: string): Key {
    const key = this.#keys.find((one) => one.id === id);
    if (key) return key;
    throw new VaultError(
      `${what} is encrypted with key ${id}, and ${process.env[keyVariable] ? `${keyVariable} holds` : 'this host keeps'} ${this.ids.join(', ')}. Set ${keyVariable} to the key that was in force then, behind a comma if there is another; every host of a migration needs the same.`,
    );
  }
}

const textMark = 'v1.';
const keptBytes = 'kept bytes';
const keyIdBytes = 6;

/** Nonce, tag, ciphertext. */
function encrypt(secret: Buffer, nonce: Buffer, about: Buffer, plain: Uint8Array): Buffer {
  const cipher = createCipheriv(algorithm, secret, nonce, { authTagLength: tagBytes });
  cipher.setAAD(about);
  const text = Buffer.concat([cipher.update(plain), cipher.final()]);
  return Buffer.concat([nonce, cipher.getAuthTag(), text]);
}

function decrypt(secret: Buffer, about: Buffer, data: Buffer): Buffer {
  const decipher = createDecipheriv(algorithm, secret, data.subarray(0, nonceBytes), { authTagLength: tagBytes });
  decipher.setAAD(about);
  decipher.setAuthTag(data.subarray(nonceBytes, nonceBytes + tagBytes));
  return Buffer.concat([decipher.update(data.subarray(nonceBytes + tagBytes)), decipher.final()]);
}

const refused = () =>
  new VaultError(
    `${keyVariable} must hold keys of 32 bytes in base64 or hex, separated by commas. \`openssl rand -base64 32\` makes one.`,
  );

function keyOf(text: string): Key {
  const secret = /^[0-9a-f]{64}$/i.test(text) ? Buffer.from(text, 'hex') : fromBase64(text);
  if (secret?.length !== 32) throw refused();
  const derived = (use: string) => Buffer.from(hkdfSync('sha256', secret, '', `causeway ${use}`, 32));
  return {
    id: createHash('sha256').update('causeway quarantine key').update(secret).digest('hex').slice(0, 12),
    secret,
    text: derived('texts'),
    nonce: derived('nonces of texts'),
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

let known: { readonly text: string; readonly vault: Vault } | undefined;

/** The vault of this process, read where it is used, so that no writer can be without it: its environment's key, else the one this host keeps. Throws VaultError. */
export function ownVault(): Vault {
  const text = process.env[keyVariable] || keptKey();
  if (!known || known.text !== text) known = { text, vault: Vault.from(text) };
  return known.vault;
}
