// Password hashes: kept as they are, with their scheme; a plaintext password is not carried on.
import { quarantine } from '../../../core/quarantine.ts';

/** No password matches it, and it is never blank. */
const unusable = '!';

export function passwordHash(value: unknown): { readonly hash: string; readonly scheme: 'sha256' | 'bcrypt' | 'none' } {
  if (value === undefined || value === null || value === '' || value === unusable)
    return { hash: unusable, scheme: 'none' };
  if (typeof value === 'string' && /^[0-9a-f]{64}$/i.test(value)) return { hash: value, scheme: 'sha256' };
  if (typeof value === 'string' && /^\$2[abxy]\$\d\d\$.{53}$/.test(value)) return { hash: value, scheme: 'bcrypt' };
  return quarantine(
    'password_not_plaintext',
    'hashed_password',
    'hashed_password is no hash of a known scheme; the account needs a new password',
  );
}
