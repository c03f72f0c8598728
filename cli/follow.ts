// Following a migration to its end, or to where it needs a person: a line per change, or bars on a terminal.
import cliProgress from 'cli-progress';
import { setTimeout as sleep } from 'node:timers/promises';
import { isOver, type Status } from '../core/state.ts';
import { readStatus, type TemporalSession } from './connect.ts';
import { failingActivities, failingText, type FailingActivity } from './failing-activities.ts';
import { count, print, printJson } from './output.ts';
import { statusText } from './status-text.ts';

const pauseMs = 500;
const askFailingMs = 5000;

/** Sets the exit code: 0 for a migration that completed, 1 for one that parked, met a gap, was undone or aborted. */
export async function follow(
  session: TemporalSession,
  name: string,
  options: { json: boolean; silent?: boolean },
): Promise<Status> {
  const view = options.json || options.silent ? undefined : liveView();
  let status = await readStatus(session, name);
  let askedAt = performance.now();
  try {
    for (; !isOver(status.state) && status.state !== 'parked' && status.state !== 'gap'; await sleep(pauseMs)) {
      view?.show(status);
      if (view && performance.now() - askedAt > askFailingMs) {
        view.tell(await failingActivities(session.client, name).catch(() => []));
        askedAt = performance.now();
      }
      status = await readStatus(session, name);
    }
    view?.show(status);
  } finally {
    view?.close();
  }
  if (options.json) printJson(status);
  else if (!options.silent) print(statusText(status));
  if (status.state !== 'completed') process.exitCode = 1;
  return status;
}

export interface LiveView {
  show(status: Status): void;
  /** What fails now; said once for each activity and message. */
  tell(failing: readonly FailingActivity[]): void;
  close(): void;
}

/** Bars per collection on a terminal; elsewhere a line whenever phase, state or what is waited for changes. */
export function liveView(): LiveView {
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

function lines(): LiveView {
  const unheard = newFailures();
  let said = '';
  const tenths = new Map<string, number>();
  return {
    show(status) {
      const now = `${status.phase}: ${status.state}${status.waitingFor ? `, waits for ${status.waitingFor}` : ''}${routeText(status)}`;
      if (now !== said) print(`  ${now}`);
      said = now;
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
  const made = new Map<string, cliProgress.SingleBar>();
  const story = multi.create(4, 0, { name: 'phase'.padEnd(20), note: '' });
  return {
    show(status) {
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
