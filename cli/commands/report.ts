// causeway report: one page per migration for managers and auditors, or the same as JSON.
import { dirname, join, resolve } from 'node:path';
import { Command } from 'commander';
import { controlSchemaOf } from '../../control/schema.ts';
import { collect } from '../../report/collect.ts';
import { htmlOf } from '../../report/html.ts';
import { buildReport, type Heard } from '../../report/report.ts';
import type { Report } from '../../report/shape.ts';
import { makeFolder, writePrivately } from '../../spool/private.ts';
import { openPool } from '../../stores/postgres/connection.ts';
import { checkName, home, readAddresses, readStatus, withTemporal } from '../connect.ts';
import { explain, UsageError } from '../errors.ts';
import { print, printJson } from '../output.ts';

interface Options {
  readonly migration: string;
  readonly json?: boolean;
  readonly out?: string;
}

export const report = (): Command =>
  new Command('report')
    .description('one self-contained HTML page about a migration, from what stands in its tables; or the same as JSON')
    .option('--migration <name>', 'which migration', 'default')
    .option('--json', 'the figures as JSON, printed unless --out is given')
    .option('--out <file>', 'where to write it; by default in the folder reports of the home (.causeway)')
    .action(async (options: Options) => {
      const name = checkName(options.migration);
      const made = await reportOf(name);
      if (options.json && options.out === undefined) return printJson(made);
      const file = resolve(options.out ?? defaultFile(name));
      await writeReport(made, file, options.json ? 'json' : 'html');
      print(file);
    });

const defaultFile = (migration: string): string => join(home(), 'reports', `${migration}.html`);

/** Writes the page to its usual place and returns that. */
export async function makeReport(migration: string): Promise<string> {
  const file = defaultFile(migration);
  await writeReport(await reportOf(migration), file, 'html');
  return file;
}

/** Throws UsageError where the target database knows no such migration. */
async function reportOf(migration: string): Promise<Report> {
  const heard = await ask(migration);
  const pool = openPool((await readAddresses()).addresses.postgres, 1);
  try {
    const schema = await controlSchemaOf(pool, migration);
    if (schema.is === 'foreign') throw new UsageError(schema.why);
    if (schema.is === 'none')
      throw new UsageError(
        `There is nothing to report: the target database has no schema migration_control. ${'status' in heard ? `The migration ${migration} is ${heard.status.state}, and what stood there was removed with it or was not made yet.` : 'No migration was started there, or what stood there was removed when one was undone.'} \`causeway status\` tells what the workflow knows.`,
      );
    return buildReport(await collect(pool, migration), heard, new Date());
  } finally {
    await pool.end();
  }
}

/** The tables tell all but where the workflow stands; without it there is a report all the same. */
const ask = (migration: string): Promise<Heard> =>
  withTemporal(async (session): Promise<Heard> => ({ status: await readStatus(session, migration) })).catch(
    (error: unknown): Heard => ({ silent: explain(error).message }),
  );

/** The file is there whole, or as it was. */
async function writeReport(made: Report, file: string, as: 'html' | 'json'): Promise<void> {
  await makeFolder(dirname(file));
  await writePrivately(file, as === 'html' ? htmlOf(made) : `${JSON.stringify(made, null, 2)}\n`);
}
