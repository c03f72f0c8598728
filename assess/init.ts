// An application drafted from a live database: a mapping per collection, ready to be edited. Reads only.
import type { Db } from 'mongodb';
import { decode } from '../core/bson/decode.ts';
import { mongo } from '../stores/mongodb/connection.ts';
import { weigh } from '../stores/mongodb/ranges.ts';
import { collectionNames } from '../stores/mongodb/schema.ts';
import { sampleOf } from '../stores/mongodb/source.ts';
import { draftOf, type Draft, type Observed } from './draft.ts';
import { nothingSeen, observe } from './observe.ts';

export interface Drafted extends Draft {
  readonly documents: number;
  readonly sampled: number;
}

export interface DraftOptions {
  readonly sample: number;
  /** None: every collection that has documents. */
  readonly only: readonly string[];
  /** How the files name the folder of the mapping language. */
  readonly language: string;
  readonly onProgress?: (collection: string) => void;
}

export async function draftApplication(db: Db, options: DraftOptions): Promise<readonly Drafted[]> {
  const all = await collectionNames(db);
  const drafts: Drafted[] = [];
  for (const collection of options.only.length > 0 ? options.only : all) {
    options.onProgress?.(collection);
    const { documents, averageBytes } = await weigh(db, collection);
    if (documents === 0) continue;
    const root = nothingSeen();
    for await (const raw of sampleOf(db, collection, Math.min(options.sample, documents), averageBytes))
      observe(root, decode(raw));
    const indexes = await indexesOf(db, collection);
    const draft = draftOf({ collection, root, indexes }, all, options.language);
    drafts.push({ ...draft, documents, sampled: root.present });
  }
  return drafts;
}

async function indexesOf(db: Db, collection: string): Promise<Observed['indexes']> {
  const found = await mongo(`listing indexes of ${collection}`, () =>
    db.collection(collection).listIndexes().toArray(),
  );
  return found
    .map((index) => ({
      keys: Object.entries(index.key as object).map(([field, order]) => [field, order === -1 ? -1 : 1] as const),
      unique: index['unique'] === true,
      isPlain: Object.values(index.key as object).every((order) => order === 1 || order === -1),
    }))
    .filter(({ isPlain, keys }) => isPlain && keys[0]?.[0] !== '_id');
}
