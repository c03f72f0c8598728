// Documents that lost a unique value to another one: which one that is, and how it is named where people read.
import { createHash } from 'node:crypto';
import { redactShown } from '../core/redact.ts';
import type { Mapping } from '../mappings/mapping.ts';

export interface Winner {
  /** Its source id. */
  readonly id: string;
  /** Its source collection, where it is known. */
  readonly source?: string | null;
}

export function lostMessage(mapping: Pick<Mapping, 'targets'>, path: string, winner: Winner | undefined): string {
  const where = winner?.source ?? 'the collection';
  const which = winner ? `, ${shownId(mapping, winner.id)},` : '';
  return `another document of ${where}${which} has the same ${path} and is kept`;
}

const objectId = /^[0-9a-f]{24}$/;
const longest = 60;

/**
 * An ObjectId as it is. Of any other `_id` that may open something (that of a collection whose keys applications look up in Redis, or what is spelled like a credential)
 * only the beginning of its SHA-256: of the same `_id` it is the same.
 */
export function shownId({ targets }: Pick<Mapping, 'targets'>, id: string): string {
  if (objectId.test(id)) return `_id ${id}`;
  const isKey = targets.some((target) => target.store === 'redis');
  if (isKey || redactShown(id) !== id)
    return `whose _id has the SHA-256 ${createHash('sha256').update(id, 'utf8').digest('hex').slice(0, 16)}…`;
  return `_id ${id.length > longest ? `${id.slice(0, longest)}…` : id}`;
}
