// Snapshot files are encrypted as they are written and decrypted as they are read: nonce (12 bytes), ciphertext, tag (16 bytes); AES-256-GCM.
import { createCipheriv, createDecipheriv, randomBytes, type DecipherGCM } from 'node:crypto';
import { Transform } from 'node:stream';
import { algorithm, nonceBytes, tagBytes } from '../../control/vault.ts';

/** `name`: the file's, so that one file is not taken for another. */
export function encryption(secret: Buffer, name: string): Transform {
  const nonce = randomBytes(nonceBytes);
  const cipher = createCipheriv(algorithm, secret, nonce, { authTagLength: tagBytes });
  cipher.setAAD(Buffer.from(name));
  let begun = false;
  return new Transform({
    transform(chunk: Buffer, _, done) {
      if (!begun) this.push(nonce);
      begun = true;
      done(null, cipher.update(chunk));
    },
    flush(done) {
      if (!begun) this.push(nonce);
      this.push(cipher.final());
      this.push(cipher.getAuthTag());
      done();
    },
  });
}

/** The last bytes are held back: they are the tag. What it has passed on is only known to be whole when it ends without an error. */
export function decryption(secret: Buffer, name: string): Transform {
  let held = Buffer.alloc(0);
  let decipher: DecipherGCM | undefined;
  return new Transform({
    transform(chunk: Buffer, _, done) {
      held = Buffer.concat([held, chunk]);
      if (!decipher && held.length >= nonceBytes) {
        decipher = createDecipheriv(algorithm, secret, held.subarray(0, nonceBytes), { authTagLength: tagBytes });
        decipher.setAAD(Buffer.from(name));
        held = held.subarray(nonceBytes);
      }
      if (!decipher || held.length <= tagBytes) return done();
      const ready = held.subarray(0, held.length - tagBytes);
      held = Buffer.from(held.subarray(ready.length));
      done(null, decipher.update(ready));
    },
    flush(done) {
      try {
        if (!decipher || held.length !== tagBytes) throw new RangeError('it ends too early');
        decipher.setAuthTag(held);
        done(null, decipher.final());
      } catch (error) {
        done(Object.assign(error as Error, { code: 'ERR_DECRYPTION' }));
      }
    },
  });
}
