// Closing old collections to writers that know nothing of the cutover: a validation that no document passes, and that only we go past.
import { deserialize, serialize } from 'bson';
import { MongoServerError, type Db } from 'mongodb';
import { mongo, unhurried } from './connection.ts';

/** What a collection's validation was, to be put back: as listCollections tells it. */
export interface Validation {
  readonly validator?: Record<string, unknown>;
  readonly validationLevel?: string;
  readonly validationAction?: string;
}

/** Values in their BSON types, so that they go back as they came. */
const exact = { promoteValues: false, promoteLongs: false, bsonRegExp: true } as const;

/** BSON as text: Extended JSON would take a `$regex` operator for a value, and drop the operators beside it. */
export const keptForm = (validation: Validation): string => Buffer.from(serialize(validation)).toString('base64');

export const readKept = (kept: string): Validation => deserialize(Buffer.from(kept, 'base64'), exact) as Validation;

/** The field that no document has; its name says to whoever meets the refusal what has happened. */
const mark = 'causeway: this collection has moved to the new system';

/** The same for a name whose collection was taken out of use: an empty collection bears it, so that a forgotten writer is refused and not served. */
const retiredMark = 'causeway: the old system was decommissioned; this collection is in the new system';

/** Who closed a collection, and the validation it had: kept in the closing itself, so that whoever opens it can tell whose closing it is. */
export interface Closing {
  readonly token: string;
  readonly before: Validation;
}

export const validationOf = async (db: Db, collection: string): Promise<Validation | undefined> =>
  (await validationsOf(db, [collection])).get(collection);

/** In one question, because writers wait. Those that are not there are left out. */
export async function validationsOf(db: Db, collections: readonly string[]): Promise<Map<string, Validation>> {
  const found = await mongo('reading collection options', () =>
    db.listCollections({ name: { $in: [...collections] } }, exact).toArray(),
  );
  return new Map(
    (found as { name: string; options?: Validation }[]).map(({ name, options }) => {
      const { validator, validationLevel, validationAction } = options ?? {};
      return [
        name,
        {
          ...(validator && { validator }),
          ...(validationLevel !== undefined && { validationLevel }),
          ...(validationAction !== undefined && { validationAction }),
        },
      ];
    }),
  );
}

/** Inserts and updates of others fail with code 121 from now on. Deletes a validation cannot refuse; capture notices them. */
export const closeCollection = (db: Db, collection: string, closing?: Closing): Promise<unknown> =>
  mongo(`closing ${collection}`, () =>
    db.command({
      collMod: collection,
      ...closedBy(mark, closing && { $eq: `${closing.token} ${keptForm(closing.before)}` }),
    }),
  );

const closedBy = (why: string, more: object = {}) => ({
  validator: { [why]: { $exists: true, ...more } },
  validationLevel: 'strict' as const,
  validationAction: 'error' as const,
});

/**
 * An empty collection, closed, under a name that nobody may write any more. A writer that came between the rename and this has made one of its
 * own: that is closed as it is, and keeps what it was given. Returns how many documents it holds.
 */
export async function holdName(db: Db, collection: string): Promise<number> {
  return mongo(`closing the name ${collection}`, async () => {
    try {
      await db.createCollection(collection, closedBy(retiredMark));
      return 0;
    } catch (error) {
      if (!(error instanceof MongoServerError && error.code === namespaceExists)) throw error;
    }
    await db.command({ collMod: collection, ...closedBy(retiredMark) });
    return db.collection(collection).countDocuments({}, { ...unhurried });
  });
}

const namespaceExists = 48;

/** How long opening may take before it is given up: what comes later might open what somebody else has closed since, ms. */
const openMs = 3000;

export const reopenCollection = (db: Db, collection: string, before: Validation): Promise<unknown> =>
  mongo(`opening ${collection}`, () =>
    db.command(
      {
        collMod: collection,
        validator: before.validator ?? {},
        validationLevel: before.validationLevel ?? 'strict',
        validationAction: before.validationAction ?? 'error',
      },
      { timeoutMS: openMs },
    ),
  );

export const isClosed = (validation: Validation | undefined): boolean => hasMark(validation, mark);

/** The name of a collection that was taken out of use. */
export const isHeldName = (validation: Validation | undefined): boolean => hasMark(validation, retiredMark);

const hasMark = (validation: Validation | undefined, which: string): boolean =>
  validation?.validator !== undefined && Object.hasOwn(validation.validator, which);

/** undefined where the collection is open, or was closed for good. */
export function closingOf(validation: Validation | undefined): Closing | undefined {
  if (!isClosed(validation)) return undefined;
  const kept = (validation!.validator![mark] as { readonly $eq?: unknown }).$eq;
  if (typeof kept !== 'string') return undefined;
  const [token, before] = kept.split(' ');
  return { token: token!, before: readKept(before!) };
}
