// Which of generated documents the server itself can store, find by their `_id`, and name in its change stream: asked of it, in collections beside the source's.
import type { Resources } from '../../../activities/resources.ts';
import { idOf, sourceIdOf } from '../../../core/identity.ts';
import { idsAmong } from '../../../stores/mongodb/source.ts';
import type { Given } from '../../support/bytes-documents.ts';
import { offerBytes } from '../../support/raw-wire.ts';
import { Told } from './events.ts';
import { keyOf } from './stored.ts';

export interface Sieved {
  readonly taken: readonly Given[];
  /** Left out, by what the server does not do. */
  readonly left: { readonly notStored: number; readonly notFound: number; readonly toldByAnotherId: number };
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
    const left = { notStored: refused.size, notFound: 0, toldByAnotherId: 0 };
    const taken: Given[] = [];
    for (const one of given) {
      if (refused.has(one)) continue;
      const id = sourceIdOf(one.bytes);
      const found = await idsAmong(db, beside(one.source), [idOf(one.bytes)]).catch((): string[] => []);
      if (!found.includes(id)) left.notFound++;
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
