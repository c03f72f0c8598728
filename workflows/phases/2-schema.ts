// Phase 2: tables, collections and Redis as the mappings declare them.
import type { MigrationInput } from '../contract.ts';
import { introduce } from '../lib/report.ts';
import { control, ddl } from '../proxies.ts';

export async function schemaPhase(input: MigrationInput): Promise<void> {
  introduce(input.name, 'schema', 'Making tables, collections and indexes');
  const collections = (await control.planCollections(input.settings)).map((plan) => plan.collection);
  const postgres = await ddl.makePostgres(collections);
  const mongo = await ddl.makeMongo(collections);
  const redis = await control.prepareRedis();
  const tables = `${postgres.timescale ? 'TimescaleDB hypertables, policies not armed' : 'native partitions by month'}: ${postgres.made.join(', ') || 'all there already'}`;
  introduce(
    input.name,
    'schema',
    [
      `PostgreSQL: ${tables}`,
      `MongoDB: ${mongo.join(', ') || 'nothing to make'}`,
      `Redis: ${redis.mode}`,
      ...redis.warnings,
    ].join('\n\n'),
  );
}
