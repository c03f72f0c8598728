// An accountant of our own: reads the stores with their drivers and knows nothing of the code under test.
import { readFile } from 'node:fs/promises';
import { EJSON } from 'bson';
import { expect } from 'vitest';
import type { World } from './world.ts';

export interface PlantedLine {
  readonly collection: string;
  readonly mapping: string;
  readonly sourceId: string;
  readonly case: number;
  readonly variant: string;
  readonly expect: 'loaded' | 'quarantined' | 'skipped';
  readonly rule?: string;
  readonly check?: {
    table?: string;
    column?: string;
    field?: string;
    path?: string[];
    value?: unknown;
    redis?: boolean;
  };
}

export async function plantedLines(world: World): Promise<PlantedLine[]> {
  const lines = (await readFile(world.planted, 'utf8')).trim().split('\n').slice(1);
  return lines.map((line) => JSON.parse(line) as PlantedLine);
}

const idText = (id: { _bsontype?: string; toHexString?: () => string } | unknown): string => {
  const object = id as { _bsontype?: string; toHexString?: () => string } | null;
  return object?._bsontype === 'ObjectId' ? object.toHexString!() : EJSON.stringify(id, { relaxed: false });
};

/** Key by key: every document of the source stands once in the accounting, and nothing else does. Returns the states by key. */
export async function accountFor(
  world: World,
  mapping: string,
  sources: readonly string[],
): Promise<Map<string, string>> {
  const keys: string[] = [];
  for (const source of sources) {
    for await (const { _id } of world.source
      .collection(source)
      .find({}, { projection: { _id: 1 }, promoteValues: false }))
      keys.push(idText(_id));
  }
  const rows = await world.rows<{ source_id: string; state: string }>(
    'select source_id, state from migration_control.accounting where collection = $1',
    [mapping],
  );
  expect(rows.map((row) => row.source_id).sort(), `${mapping}: keys`).toEqual([...keys].sort());
  return new Map(rows.map((row) => [row.source_id, row.state]));
}

export const feeds: Record<string, readonly string[]> = {
  token_usage: ['token_usage', 'usage_records'],
  subscription_users: ['subscription_users', 'users'],
  analysis_results: ['analysis_results', 'analysis_reports'],
  sessions: ['sessions', 'user_sessions'],
  metadata: ['metadata', 'system_config', 'configurations'],
  stock_daily_quotes: ['stock_daily_quotes'],
};
