// Configuration files against the rows they are rendered from: read, parsed, compared by key.
import { readFile } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { parse } from '../../core/json.ts';
import { redact } from '../../core/redact.ts';
import { name, query } from '../../stores/postgres/connection.ts';
import { created } from '../../stores/postgres/created.ts';
import { configurationFolder } from '../resources.ts';
import { fileName } from '../../stores/files/loader.ts';
import type { FilesTarget } from '../../stores/files/target.ts';
import { closePiece, type Finding, type Scan, type Suspect } from '../../control/verification.ts';
import { differences } from './differ.ts';
import { groupBy } from './group.ts';
import type { Verifier } from './verifier.ts';

export interface FileFinding {
  /** Path of the file. */
  readonly id: string;
  readonly finding: Finding;
  readonly differs: readonly string[];
}

/** Files that are not what their rows say, files that are missing, and files of ours that no category explains. */
/** What stands under the key of a row that is itself in one of the states `leaveOut` is left out: it must not make its file look wrong. */
export async function compareFiles(
  { resources, order, run }: Verifier,
  mapping: string,
  leaveOut: readonly ('different' | 'suspect')[],
): Promise<FileFinding[]> {
  const folder = configurationFolder(resources, order.configurationDirectory);
  const targets = resources.mappings
    .get(mapping)!
    .targets.filter((target): target is FilesTarget => target.store === 'files');
  const found: FileFinding[] = [];
  const expected = new Set<string>();
  for (const target of targets) {
    const rows = await query<{ category: string; key: string; value: unknown; suspect: boolean }>(
      resources.postgres,
      `reading ${target.table}`,
      `select ${name(target.category)} as category, ${name(target.key)} as key, ${name(target.value)} as value, exists (
         select 1 from migration_control.verification_keys k where k.run_id = $1 and k.kind = 'document' and k.mapping = $2 and k.id = t.source_id and k.state = any($3)) as suspect
       from ${name(target.table)} t order by 1, 2`,
      [run, mapping, leaveOut],
    );
    const categories = groupBy(rows, (row) => row.category);
    for (const [category, its] of categories) {
      const file = resolve(folder, fileName(category));
      expected.add(file);
      const text = await readFile(file, 'utf8').catch(() => undefined);
      if (text === undefined) found.push({ id: file, finding: 'missing', differs: [] });
      else {
        const suspect = new Set(its.filter((row) => row.suspect).map((row) => row.key));
        const known = (all: object) => Object.fromEntries(Object.entries(all).filter(([key]) => !suspect.has(key)));
        const values = redact(Object.fromEntries(its.map(({ key, value }) => [key, value]))) as object;
        const held = parse(text);
        const differs = held ? differences(known(values), known(held), fileName(category)) : [fileName(category)];
        if (differs.length > 0) found.push({ id: file, finding: 'different', differs });
      }
    }
  }
  for (const { name: file } of await created(resources.postgres, 'files'))
    if (dirname(file) === folder && !expected.has(file)) {
      const there = await readFile(file).then(
        () => true,
        () => false,
      );
      if (there) found.push({ id: file, finding: 'extra', differs: [] });
    }
  return found;
}

export async function scanFiles(verifier: Verifier, scan: Scan): Promise<boolean> {
  const suspects = (await compareFiles(verifier, scan.mapping, [])).map(({ id }): Suspect => ({
    kind: 'file',
    collectionId: 0,
    mapping: scan.mapping,
    id,
  }));
  const { postgres } = verifier.resources;
  await closePiece(postgres, verifier.run, scan, { position: null, compared: scan.total, done: true, suspects });
  return true;
}
