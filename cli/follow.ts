// Following a migration to its end, or to where it needs a person: a line per change, or bars on a terminal.
import cliProgress from 'cli-progress';
import { setTimeout as sleep } from 'node:timers/promises';
import { isOver, type Status } from '../core/state.ts';
import { readStatus, type TemporalSession } from './connect.ts';
import { failingActivities, failingText, type FailingActivity } from './failing-activities.ts';
import { UnreachableError } from './errors.ts';
import { count, print, printJson } from './output.ts';
import { statusText } from './status-text.ts';

const pauseMs = 500;
const askFailingMs = 5000;

export interface FollowOptions {
  readonly json?: boolean;
  /** Where it is to end; else where the migration is over, or needs a person. */
  readonly ends?: (status: Status) => boolean;
  /** What exit code 0 is for; else a migration that completed. */
  readonly good?: (status: Status) => boolean;
  /** As it stands now; else as the workflow tells. */
  readonly read?: () => Promise<Status>;
  /** Sees each state that was read. */
  readonly each?: (status: Status) => void;
}

export const needsNobody = ({ state }: Status): boolean => !isOver(state) && state !== 'parked' && state !== 'gap';

const patienceMs = 60_000;

/** Workers are restarted while somebody looks on: that is said, and waited for so long. */
function patiently(read: () => Promise<Status>): () => Promise<Status> {
  let since: number | undefined;
  return async () => {
    for (;;)
      try {
        const status = await read();
        since = undefined;
        return status;
      } catch (error) {
        if (!(error instanceof UnreachableError)) throw error;
        if (since === undefined) process.stderr.write(`  ${error.message} This command waits for it for a minute.\n`);
        since ??= performance.now();
        if (performance.now() - since > patienceMs) throw error;
        await sleep(pauseMs);
      }
  };
}

/** Sets the exit code: 0 for what is good, else 1. */
export async function follow(session: TemporalSession, name: string, options: FollowOptions = {}): Promise<Status> {
  const view = options.json ? undefined : liveView();
  const read = patiently(options.read ?? (() => readStatus(session, name)));
  const ends = options.ends ?? ((status) => !needsNobody(status));
  let status = await read();
  let askedAt = performance.now();
  try {
    for (; !ends(status); await sleep(pauseMs)) {
      options.each?.(status);
      view?.show(status);
      if (view && performance.now() - askedAt > askFailingMs) {
        view.tell(await failingActivities(session.client, name).catch(() => []));
        askedAt = performance.now();
      }
      status = await read();
    }
    view?.show(status);
  } finally {
    view?.close();
  }
  if (options.json) printJson(status);
  else print(statusText(status));
  if (!(options.good?.(status) ?? status.state === 'completed')) process.exitCode = 1;
  return status;
}

interface LiveView {
  show(status: Status): void;
  /** What fails now; said once for each activity and message. */
  tell(failing: readonly FailingActivity[]): void;
  close(): void;
}

/** Bars per collection on a terminal; elsewhere a line whenever phase, state or what is waited for changes. */
function liveView(): LiveView {
  return process.stderr.isTTY ? bars() : lines();
}

/** One failure is one line, however often it is tried. */
function newFailures(): (failing: readonly FailingActivity[]) => string | undefined {
  let told = new Set<string>();
  return (failing) => {
    const keyOf = (one: FailingActivity) => `${one.workflow}\t${one.activity}\t${one.message}`;
    const fresh = failing.filter((one) => !told.has(keyOf(one)));
    told = new Set(failing.map(keyOf));
    return failingText(fresh);
  };
}

/** Orders that had no effect since the view was opened, each once. */
function newRefusals(): (status: Status) => string[] {
  let last: string | undefined;
  return ({ refused }) => {
    const since = last ?? refused.at(-1)?.at ?? '';
    last = refused.at(-1)?.at ?? since;
    return refused.filter((one) => one.at > since).map((one) => `  Without effect: ${one.order}: ${one.reason}`);
  };
}

function lines(): LiveView {
  const unheard = newFailures();
  const refusals = newRefusals();
  let said = '';
  const tenths = new Map<string, number>();
  return {
    show(status) {
      const now = `${status.phase}: ${status.state}${status.waitingFor ? `, waits for ${status.waitingFor}` : ''}${routeText(status)}`;
      if (now !== said) print(`  ${now}`);
      said = now;
      for (const line of refusals(status)) print(line);
      for (const [collection, its] of Object.entries(status.collections)) {
        const tenth =
          its.source === 0 ? 0 : Math.floor(((its.loaded + its.quarantined + its.skipped) * 10) / its.source);
        if (status.phase === 'data' && tenth > 0 && tenths.get(collection) !== tenth)
          print(`  ${collection}: ${tenth * 10} % of ${count(its.source)}, ${count(its.quarantined)} quarantined`);
        tenths.set(collection, tenth);
      }
    },
    tell(failing) {
      const text = unheard(failing);
      if (text !== undefined) print(text);
    },
    close: () => undefined,
  };
}

function bars(): LiveView {
  const multi = new cliProgress.MultiBar(
    {
      format: '  {name} [{bar}] {percentage}% {value}/{total}  {note}',
      hideCursor: true,
      stream: process.stderr,
      clearOnComplete: false,
    },
    cliProgress.Presets.legacy,
  );
  const unheard = newFailures();
  const refusals = newRefusals();
  const made = new Map<string, cliProgress.SingleBar>();
  const story = multi.create(4, 0, { name: 'phase'.padEnd(20), note: '' });
  return {
    show(status) {
      for (const line of refusals(status)) multi.log(`${line}\n`);
      const phases = ['preparation', 'schema', 'data', 'cutover'];
      story.update(status.state === 'completed' ? 4 : phases.indexOf(status.phase), {
        note: `${status.phase}, ${status.state}${status.waitingFor ? `; waits for ${status.waitingFor}` : ''}${routeText(status)}`,
      });
      for (const [collection, its] of Object.entries(status.collections)) {
        const bar = made.get(collection) ?? multi.create(its.source, 0, { name: collection.padEnd(20), note: '' });
        made.set(collection, bar);
        bar.setTotal(Math.max(its.source, 1));
        bar.update(its.loaded + its.quarantined + its.skipped, {
          note: its.quarantined > 0 ? `${count(its.quarantined)} quarantined` : '',
        });
      }
    },
    tell(failing) {
      const text = unheard(failing);
      if (text !== undefined) multi.log(`${text}\n`);
    },
    close: () => multi.stop(),
  };
}

function routeText(status: Status): string {
  const percentages = [
    ...new Set(Object.values(status.routing).map((its) => `${its.percentage} % of reads, writes ${its.writeMode}`)),
  ];
  return percentages.length === 0 ? '' : `; ${percentages.join(' / ')}`;
}
