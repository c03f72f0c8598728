// Whose work it is: one migration, on one set of stores. Its task queue carries both, so that a task runs only where it belongs. Pure.

export interface Owner {
  readonly migration: string;
  /** Fingerprint of the four stores; holds no address and no credential. */
  readonly stores: string;
}

const prefix = 'causeway';
const form = /^causeway\/([A-Za-z0-9][A-Za-z0-9_.-]{0,99})\/([0-9a-f]{12})$/;

/** Where its workflows and light activities are served; its other queues begin with this name (`workflows/contract.ts`). */
export const queueOf = ({ migration, stores }: Owner): string => `${prefix}/${migration}/${stores}`;

/** undefined: no queue of a migration. */
export function ownerOf(queue: string): Owner | undefined {
  const [, migration, stores] = form.exec(queue) ?? [];
  return migration === undefined || stores === undefined ? undefined : { migration, stores };
}

/** What each store says it is (`stores/<name>/identity.ts`). */
export interface StoreIdentities {
  readonly source: string;
  readonly postgres: string;
  readonly mongodb: string;
  readonly redis: string;
}

export type StoreName = keyof StoreIdentities;

export const storeNames = {
  source: ['The source MongoDB', 'SOURCE_MONGODB_URL'],
  postgres: ['The target PostgreSQL', 'TARGET_POSTGRES_URL'],
  mongodb: ['The target MongoDB', 'TARGET_MONGODB_URL'],
  redis: ['The target Redis', 'TARGET_REDIS_URL'],
} as const satisfies Record<keyof StoreIdentities, readonly [string, string]>;

const migrationName = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$/;

/** A sentence, where this cannot be the name of a migration. */
export const refuseMigrationName = (name: string): string | undefined =>
  migrationName.test(name)
    ? undefined
    : `"${name}" cannot be a migration's name: letters, digits, dots, dashes and underscores, beginning with a letter or digit.`;
