// Users who share a name or an address with another (cases 33 and 34). The dirty one is always the one to lose: inactive and older.
import { sourceId } from '../../core/identity.ts';
import type { Dirt, DirtyCase, Document } from '../shape.ts';
import { START } from '../time.ts';
import { quarantined } from './catalogue.ts';

/** Clashes with a clean document in one field; the other stays the document's own. */
const clash =
  (field: 'username' | 'email', spell: (text: string) => string): Dirt =>
  (document, place) => {
    const other = place.anchor();
    document[field] = spell(String(other[field]));
    lose(document);
    return { field: 'clashes_with', value: sourceId(other._id) };
  };

function lose(document: Document): void {
  document['is_active'] = false;
  document['created_at'] = new Date(START - 30 * 86_400_000);
  if ('updated_at' in document) document['updated_at'] = new Date(START - 30 * 86_400_000);
  if ('last_login' in document) document['last_login'] = null;
}

/** ASCII as its full-width twins. */
const fullWidth = (text: string): string =>
  text.replace(/[!-~]/g, (character) => String.fromCharCode(character.charCodeAt(0) + 0xfee0));

export const duplicateUserCases: readonly DirtyCase[] = [
  quarantined(
    33,
    'same username',
    'username_unique',
    clash('username', (name) => name),
  ),
  quarantined(
    33,
    'same email',
    'email_unique',
    clash('email', (email) => email),
  ),
  quarantined(
    34,
    'username in another case',
    'username_unique',
    clash('username', (name) => name.toUpperCase()),
  ),
  quarantined(
    34,
    'username with a space',
    'username_unique',
    clash('username', (name) => `${name} `),
  ),
  quarantined(34, 'username in full width', 'username_unique', clash('username', fullWidth)),
  quarantined(
    34,
    'username decomposed',
    'username_unique',
    clash('username', (name) => ` ${name.normalize('NFD')}`),
  ),
  quarantined(
    34,
    'email in another case',
    'email_unique',
    clash('email', (email) => email.toUpperCase()),
  ),
  quarantined(
    34,
    'email with full-width ＠',
    'email_unique',
    clash('email', (email) => email.replace('@', '＠')),
  ),
];
