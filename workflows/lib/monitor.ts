// Watching a stage: evidence comes from activities, the decision is made here, so that a replay comes to the same.
import { CancellationScope, condition, isCancellation, sleep } from '@temporalio/workflow';
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
const sliceMs = 10 * 60_000;

export class Monitor {
  readonly #options: MonitorOptions;
  readonly #incidents: Incident[] = [];
  #state: DecisionState = undecided;
  #evidence: Evidence[] = [];

  constructor(options: MonitorOptions) {
    this.#options = options;
  }

  /** To be judged at once, whatever is being sampled. */
  report(incident: Incident): void {
    this.#incidents.push(incident);
  }

  /** Watches for at most `ms`, or until `over`. Returns the decision as soon as it is another than to go on. */
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
    let fresh: readonly Evidence[] | undefined;
    let broken: Error | undefined;
    const ended = sampling.then(
      (evidence) => void (fresh = evidence),
      (error: Error) => {
        fresh = [];
        if (!isCancellation(error)) broken = error;
      },
    );
    await condition(() => fresh !== undefined || this.#incidents.length > 0 || over());
    scope.cancel();
    await ended;
    if (broken) throw broken;
    const incidents = this.#incidents.splice(0);
    const observed = [...(fresh ?? []), ...(incidents.length > 0 ? [await this.#incidentEvidence(incidents)] : [])];
    this.#evidence = [...this.#evidence, ...observed];
    const decision = decide(this.#evidence, policy, this.#state);
    this.#evidence = this.#evidence.slice(-windowOf(policy));
    this.#state = decision.state;
    return decision;
  }

  /** An incident needs no samples: it is an interval of its own, after all that were judged. */
  async #incidentEvidence(incidents: readonly Incident[]): Promise<Evidence> {
    // Two intervals must not end in the same millisecond: the later one would count as judged.
    await sleep(2);
    const to = new Date(Math.max(Date.now(), Date.parse(this.#state.seen || '1970-01-01') + 1)).toISOString();
    return {
      from: to,
      to,
      collections: {},
      capture: { lagMs: null, gap: false, quarantineShare: 0 },
      incidents: [...incidents],
    };
  }
}
