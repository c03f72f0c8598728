// Watching a stage: evidence comes from activities, the decision is made here, so that a replay comes to the same.
import { CancellationScope, condition, isCancellation, sleep } from '@temporalio/workflow';
import type { Watched } from '../../activities/gates.ts';
import { decide, undecided, windowOf, type Decision, type DecisionState, type Policy } from '../../core/decision.ts';
import type { Evidence, Incident } from '../../core/evidence.ts';
import { monitoring } from '../proxies.ts';

export interface MonitorOptions {
  readonly stage: string;
  readonly collections: readonly string[];
  readonly policy: Policy;
  readonly sampleSeconds: number;
  readonly zone: string;
  readonly providers: readonly string[];
  readonly probeRole?: string;
}

/** A slice of watching ends by itself after this long, so that a stage of a week is a few thousand events and not a hundred thousand, ms. */
export const sliceMs = 10 * 60_000;

/** What the next decision rests on beside new samples; goes with a stage that renews itself. */
export interface Seen {
  readonly state: DecisionState;
  readonly evidence: readonly Evidence[];
}

export class Monitor {
  readonly #options: MonitorOptions;
  readonly #incidents: Incident[] = [];
  #state: DecisionState;
  #evidence: readonly Evidence[];

  constructor(options: MonitorOptions, seen: Seen = { state: undecided, evidence: [] }) {
    this.#options = options;
    this.#state = seen.state;
    this.#evidence = seen.evidence;
  }

  get seen(): Seen {
    return { state: this.#state, evidence: this.#evidence };
  }

  /** Whether an incident waits to be judged. */
  get pending(): boolean {
    return this.#incidents.length > 0;
  }

  /** The first incident that nobody will judge any more. */
  unjudged(): Incident | undefined {
    return this.#incidents.shift();
  }

  /** To be judged at once, whatever is being sampled. */
  report(incident: Incident): void {
    this.#incidents.push(incident);
  }

  /** Watches for at most `ms`, or until `over`. Returns the decision as soon as it is another than the last one. */
  async watch(ms: number, over: () => boolean): Promise<Decision> {
    const { policy } = this.#options;
    const scope = new CancellationScope();
    const { stage, collections, sampleSeconds, zone, providers, probeRole } = this.#options;
    const sampling = scope.run(() =>
      monitoring.watchStage.executeWithOptions({ summary: `watching ${stage}` }, [
        {
          stage,
          collections,
          policy,
          sampleSeconds,
          settings: { zone, providers },
          state: this.#state,
          recent: this.#evidence,
          ms: Math.min(ms, sliceMs),
          ...(probeRole !== undefined && { probeRole }),
        },
      ]),
    );
    let watched: Watched | undefined;
    let broken: Error | undefined;
    const before = { before: this.#state, evidence: this.#evidence };
    const ended = sampling.then(
      (result) => {
        watched = result;
      },
      (error: Error) => {
        watched = before;
        if (!isCancellation(error)) broken = error;
      },
    );
    await condition(() => watched !== undefined || this.#incidents.length > 0 || over());
    scope.cancel();
    await ended;
    if (broken) throw broken;
    const { before: state, evidence } = watched ?? before;
    const incidents = this.#incidents.splice(0);
    // By whichever worker's clock: it has to come after all that was judged.
    const last = [state.seen, evidence.at(-1)?.to ?? ''].sort().at(-1)!;
    this.#evidence = incidents.length > 0 ? [...evidence, await incidentEvidence(incidents, last)] : evidence;
    const decision = decide(this.#evidence, policy, state);
    this.#evidence = this.#evidence.slice(-windowOf(policy));
    this.#state = decision.state;
    return decision;
  }
}

/** An incident needs no samples: it is an interval of its own, after all that were judged. */
async function incidentEvidence(incidents: readonly Incident[], last: string): Promise<Evidence> {
  // Two intervals must not end in the same millisecond: the later one would count as judged.
  await sleep(2);
  const to = new Date(Math.max(Date.now(), Date.parse(last || '1970-01-01') + 1)).toISOString();
  return {
    from: to,
    to,
    collections: {},
    capture: { lagMs: null, gap: false, quarantineShare: 0 },
    incidents: [...incidents],
  };
}
