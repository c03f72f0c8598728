// What must hold of a document without any server: the loader and the verifier agree on it, and what is untouched is given back as its bytes.
import { serialize } from 'bson';
import { imageOf, isLoading, Shaper } from '../../../activities/shape.ts';
import { Expectation } from '../../../activities/verify/expected.ts';
import { idOf, idFromSourceId, sourceIdOf } from '../../../core/identity.ts';
import { refusedRule } from '../../../core/quarantine.ts';
import type { Mapping, Outcome } from '../../../mappings/mapping.ts';
import { contentOf, putDocument } from '../../../mappings/way-back.ts';
import { Reference } from '../../../stores/postgres/target.ts';
import type { Given } from '../../support/bytes-documents.ts';
import type { ContentChange } from '../../support/changes-of-content.ts';
import { differing, keepsOrder, readBack, touched } from '../../support/way-back.ts';

export const settings = { zone: 'Asia/Shanghai', providers: [] };
const version = { time: BigInt(Date.UTC(2026, 0, 1) / 1000) << 32n, op: 0 };
const at = { ...settings, asOf: Date.UTC(2026, 0, 1) };

function found(outcome: Outcome): void {
  for (const rows of Object.values(outcome))
    for (const row of rows as Record<string, unknown>[])
      for (const column in row) if (row[column] instanceof Reference) row[column] = 1n;
}

/** What is wrong with it; nothing, usually. */
export function wrongAlone(mapping: Mapping, { source, bytes }: Given, change: ContentChange): string[] {
  const wrong: string[] = [];
  const image = imageOf(bytes, version);
  const expectation = new Expectation({ mapping, source, collectionId: 1 });
  const shaper = new Shaper(mapping, source, 1);
  const first = shaper.shape(image, at);
  // Whoever loads has looked the references up.
  if (isLoading(first)) found(first.outcome);
  const shaped = isLoading(first) ? shaper.encode(first) : first;
  const rule =
    shaped.error === undefined
      ? ''
      : shaped.error.split('\t').find((cell) => /^(mapping_failed|not_applied)$/.test(cell));
  if (rule) wrong.push(`it is set aside by ${rule}`);
  const read = expectation.read(bytes, at);
  const expected = expectation.image(read, () => '1');
  if (expected.id !== image.id) wrong.push(`the verifier calls it ${expected.id}, the loader ${image.id}`);
  const state = { loaded: 'l', quarantined: 'q', skipped: 's', deleted: 'd' }[shaped.state];
  // What a table's index does not take is no matter of the mapping; the verifier takes the ledger's word for it.
  if (expected.state !== state && !shaped.error?.includes(`\t${refusedRule}\t`))
    wrong.push(`the verifier expects ${expected.state}, the loader makes ${state}`);
  const id = idFromSourceId(image.id);
  if (id === undefined) wrong.push('its key names no _id');
  else if (
    !Buffer.from(serialize({ v: id }, { ignoreUndefined: false })).equals(
      Buffer.from(serialize({ v: idOf(bytes) }, { ignoreUndefined: false })),
    )
  )
    wrong.push('its key names another _id');
  if (shaped.state !== 'loaded') return wrong;
  const content = readBack(mapping, contentOf(mapping, bytes, settings)!);
  const put = putDocument(mapping, image.id, bytes, content, settings);
  if (!Buffer.from(put.bytes).equals(bytes)) wrong.push('untouched, it does not come back as its bytes');
  if (put.unsaid.length > 0) wrong.push(`untouched, it leaves ${put.unsaid.join(', ')} unsaid`);
  const anew = putDocument(mapping, image.id, undefined, content, settings);
  if (anew.refused) wrong.push(`made anew it is refused by ${anew.refused.rule} at ${anew.refused.path}`);
  else if (sourceIdOf(anew.bytes) !== image.id) wrong.push(`made anew it has another _id`);
  const changed = change.apply(content);
  const next = putDocument(mapping, image.id, bytes, readBack(mapping, changed), settings);
  if (next.refused) return wrong;
  if (next.unsaid.length === 0 && differing(mapping, next.bytes, changed, settings).length > 0)
    wrong.push(`after a change of ${change.what} it says something else`);
  const others = touched(mapping, bytes, next.bytes).filter((name) => !change.shows.includes(name));
  if (others.length > 0 && !change.shows.includes('*'))
    wrong.push(`a change of ${change.what} touches ${others.join(', ')}`);
  if (!keepsOrder(bytes, next.bytes)) wrong.push(`a change of ${change.what} moves fields`);
  return wrong;
}
