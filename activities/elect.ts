// Settling unique keys before the copy: of the documents that claim one key, the best stays and the others are quarantined.
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { from as copyFrom } from 'pg-copy-streams';
import type pg from 'pg';
import { decode } from '../core/bson/decode.ts';
import { idOf, sourceIdOf } from '../core/identity.ts';
import { sameIdRule } from '../core/quarantine.ts';
import type { Mapping } from '../mappings/mapping.ts';
import type { TransformSettings } from '../mappings/settings.ts';
import { transformDocument, withFirstNames } from '../mappings/transform.ts';
import { weigh } from '../stores/mongodb/ranges.ts';
import { batchesOf, batchFor, idsAmong } from '../stores/mongodb/source.ts';
import { inTransaction, query } from '../stores/postgres/connection.ts';
import { escape } from '../stores/postgres/copy.ts';
import type { Winner } from './lost.ts';
import { mappingOf, type Resources } from './resources.ts';

export interface Loser {
  readonly rule: string;
  readonly path: string;
  readonly winner?: Winner | undefined;
}

/**
 * Two passes: the same `_id` in two source collections of a mapping (the mapping's own name wins), then the mapping's unique rules.
 * Only documents that would load claim keys. Claims are staged in PostgreSQL, so that memory stays small however many there are; only
 * those that clash come back. Run again, it gives the same result for the same source. Returns the number of losers.
 */
export async function electUnique(
  resources: Resources,
  collection: string,
  ids: ReadonlyMap<string, number>,
  settings: TransformSettings,
  heartbeat: () => void,
): Promise<number> {
  const mapping = mappingOf(resources, collection);
  const losers = await sameIds(resources, ids, heartbeat);
  return inTransaction(resources.postgres, `settling unique keys of ${collection}`, async (client) => {
    await client.query('delete from migration_control.elections where collection_id = any($1)', [[...ids.values()]]);
    for (const { id, source_id, source } of losers)
      await lose(client, id, source_id, { rule: sameIdRule, path: '_id', winner: { id: source_id, source } });
    if (mapping.unique.length === 0) return losers.length;
    const excluded = new Set(losers.map(({ id, source_id }) => `${id}\t${source_id}`));
    await client.query(
      'create temporary table claims (collection_id smallint, source_id text collate "C", rule text, path text, key text, rank text collate "C") on commit drop',
    );
    await pipeline(
      Readable.from(claims(resources, mapping, ids, settings, excluded, heartbeat)),
      client.query(copyFrom('copy claims from stdin')),
    );
    return losers.length + (await settle(client, ids));
  });
}

async function lose(client: pg.ClientBase, collectionId: number, id: string, loser: Loser): Promise<void> {
  await client.query(
    'insert into migration_control.elections (collection_id, source_id, rule, path, winner, winner_source) values ($1, $2, $3, $4, $5, $6) on conflict do nothing',
    [collectionId, id, loser.rule, loser.path, loser.winner?.id, loser.winner?.source],
  );
}

/** Documents of later source collections whose `_id` an earlier one has. The smaller of each pair is read, the other asked. */
async function sameIds(
  resources: Resources,
  ids: ReadonlyMap<string, number>,
  heartbeat: () => void,
): Promise<{ id: number; source_id: string; source: string }[]> {
  const { db } = resources.source;
  const sources = [...ids.keys()];
  const found: { id: number; source_id: string; source: string }[] = [];
  for (const [at, later] of sources.entries()) {
    for (const earlier of sources.slice(0, at)) {
      const laterIsSmall = (await weigh(db, later)).documents <= (await weigh(db, earlier)).documents;
      const [read, asked] = laterIsSmall ? [later, earlier] : [earlier, later];
      for await (const batch of batchesOf(db, read, { _id: 1 })) {
        heartbeat();
        const same = new Set(await idsAmong(db, asked, batch.map(idOf)));
        for (const raw of batch) {
          const source_id = sourceIdOf(raw);
          if (same.has(source_id)) found.push({ id: ids.get(later)!, source_id, source: earlier });
        }
      }
    }
  }
  return found;
}

async function* claims(
  resources: Resources,
  mapping: Mapping,
  ids: ReadonlyMap<string, number>,
  settings: TransformSettings,
  excluded: ReadonlySet<string>,
  heartbeat: () => void,
) {
  for (const [source, id] of ids) {
    const { averageBytes } = await weigh(resources.source.db, source);
    for await (const batch of batchesOf(resources.source.db, source, undefined, batchFor(averageBytes, 1000))) {
      heartbeat();
      const lines: string[] = [];
      for (const raw of batch) {
        const document = decode(raw);
        const key = sourceIdOf(raw);
        if (excluded.has(`${id}\t${key}`) || transformDocument(mapping, document, settings).state !== 'loaded')
          continue;
        const named = withFirstNames(mapping, document);
        for (const rule of mapping.unique) {
          const claimed = rule.key(named, settings);
          if (claimed !== undefined)
            lines.push(
              `${id}\t${[key, rule.rule, rule.path, claimed, rule.rank(named, settings)].map((part) => escape(part.replaceAll('\u0000', ''))).join('\t')}\n`,
            );
        }
      }
      if (lines.length > 0) yield lines.join('');
    }
  }
}

interface Claim {
  readonly collection_id: number;
  readonly source_id: string;
  readonly rule: string;
  readonly path: string;
  readonly key: string;
}

/** Best documents first; one stays if nobody better that stays holds one of its keys. */
async function settle(client: pg.ClientBase, ids: ReadonlyMap<string, number>): Promise<number> {
  const { rows } = await client.query<Claim>(`
    with clashes as (select rule, key from claims group by rule, key having count(*) > 1),
         documents as (select distinct collection_id, source_id from claims join clashes using (rule, key))
    select collection_id, source_id, rule, path, key from claims join documents using (collection_id, source_id)
    order by max(rank) over (partition by collection_id, source_id) desc, collection_id, source_id, rule`);
  const sources = new Map([...ids].map(([source, id]) => [id, source]));
  const taken = new Map<string, Winner>();
  let losers = 0;
  for (let at = 0, next = 0; at < rows.length; at = next) {
    while (
      next < rows.length &&
      rows[next]!.collection_id === rows[at]!.collection_id &&
      rows[next]!.source_id === rows[at]!.source_id
    )
      next++;
    const own = rows.slice(at, next);
    const lost = own.find((claim) => taken.has(keyOf(claim)));
    if (lost) {
      losers++;
      await lose(client, lost.collection_id, lost.source_id, { ...lost, winner: taken.get(keyOf(lost)) });
    } else
      for (const claim of own)
        taken.set(keyOf(claim), { id: claim.source_id, source: sources.get(claim.collection_id) ?? null });
  }
  return losers;
}

const keyOf = ({ rule, key }: Claim): string => `${rule}\t${key}`;

interface Row {
  readonly source_id: string;
  readonly rule: string;
  readonly path: string;
  readonly winner: string | null;
  readonly winner_source: string | null;
}

/** The losers of one source collection, by source id. */
export async function losersOf(resources: Resources, collectionId: number): Promise<Map<string, Loser>> {
  const sql =
    'select source_id, rule, path, winner, winner_source from migration_control.elections where collection_id = $1';
  const rows = await query<Row>(resources.postgres, 'reading elections', sql, [collectionId]);
  return new Map(
    rows.map(({ source_id, rule, path, winner, winner_source: source }) => [
      source_id,
      { rule, path, winner: winner === null ? undefined : { id: winner, source } },
    ]),
  );
}
