// Which of generated documents the server itself can store, find by their `_id`, sort, and name in its change stream: asked of it, in collections beside the source's.
import type { Resources } from '../../../activities/resources.ts';
import { idOf, sourceIdOf } from '../../../core/identity.ts';
import { idsAmong, keyText, rangeFilter } from '../../../stores/mongodb/source.ts';
import { groupBy } from '../../../activities/verify/group.ts';
import type { Given } from '../../support/bytes-documents.ts';
import { offerBytes } from '../../support/raw-wire.ts';
import { Told } from './events.ts';
import { keyOf } from './stored.ts';

export interface Sieved {
  readonly taken: readonly Given[];
  /** Left out, by what the server does not do. */
  readonly left: {
    readonly notStored: number;
    readonly notFound: number;
    readonly notSorted: number;
    readonly toldByAnotherId: number;
  };
}

export async function sieve(resources: Resources, url: string, given: readonly Given[]): Promise<Sieved> {
  const { db } = resources.source;
  const beside = (source: string) => `scratch_${source}`;
  const told = await Told.from(resources);
  try {
    const refused = new Set<Given>();
    for (const source of new Set(given.map((one) => one.source))) {
      const own = given.filter((one) => one.source === source);
      const places = await offerBytes(
        url,
        beside(source),
        own.map((one) => one.bytes),
      );
      for (const place of places) refused.add(own[place]!);
    }
    const images = await told.lastImages();
    const left = { notStored: refused.size, notFound: 0, notSorted: 0, toldByAnotherId: 0 };
    const sorted = await sortable(
      resources,
      url,
      given.filter((one) => !refused.has(one)),
    );
    const taken: Given[] = [];
    for (const one of given) {
      if (refused.has(one)) continue;
      const id = sourceIdOf(one.bytes);
      const found = await idsAmong(db, beside(one.source), [idOf(one.bytes)]).catch((): string[] => []);
      if (!found.includes(id)) left.notFound++;
      else if (!sorted.has(one)) left.notSorted++;
      else if (!images.get(keyOf({ source: beside(one.source), id }))) left.toldByAnotherId++;
      else taken.push(one);
    }
    for (const source of new Set(given.map((one) => one.source)))
      await db
        .collection(beside(source))
        .drop()
        .catch(() => undefined);
    return { taken, left };
  } finally {
    await told.close();
  }
}

/** Those by whose keys a collection is read in order, from after each of them on, as a copy does. */
async function sortable(resources: Resources, url: string, given: readonly Given[]): Promise<Set<Given>> {
  const { db } = resources.source;
  const result = new Set<Given>();
  for (const [source, some] of groupBy(given, (one) => one.source)) {
    const beside = `sorted_${source}`;
    const isSorted = (after: string | null) =>
      db
        .collection<Record<string, unknown>>(beside)
        .find(rangeFilter({ after, upTo: null }), { raw: true })
        .sort({ _id: 1 })
        .toArray()
        .then(
          () => true,
          () => false,
        );
    const put = (documents: readonly Given[]) =>
      offerBytes(
        url,
        beside,
        documents.map((one) => one.bytes),
      );
    await put(some);
    const whole = await isSorted(null);
    if (!whole) await db.collection(beside).drop();
    const good: Given[] = [];
    for (const one of some) {
      if (!whole) await put([one]);
      if ((whole || (await isSorted(null))) && (await isSorted(keyText(one.bytes)))) {
        result.add(one);
        good.push(one);
      } else if (!whole) {
        await db.collection(beside).drop();
        await put(good);
      }
    }
    await db
      .collection(beside)
      .drop()
      .catch(() => undefined);
  }
  return result;
}
