// The soak of a cutover stage: watched until its time is over, it passes, holds, or goes back.
import { continueAsNew, workflowInfo } from '@temporalio/workflow';
import { heldByOperator, type StageOutcome } from '../../core/cutover.ts';
import type { Decision, Verdict } from '../../core/decision.ts';
import type { Settings } from '../../core/settings.ts';
import type { cutoverStage, StageInput } from '../children/cutover-stage.ts';
import type { StageProgress } from '../contract.ts';
import { showing } from '../proxies.ts';
import { unlessCancelled } from './capture-loops.ts';
import { sliceMs, type Monitor, type Seen } from './monitor.ts';

/** What has been ordered of the stage so far; its handlers write here. */
export interface Heard {
  readonly approved: Set<string>;
  advanced: boolean;
}

/** Where a stage that is being watched stands: what goes with it when its history is begun anew. */
export interface Going {
  /** End of the soak, ms since the epoch. */
  readonly until: number;
  readonly held: string | null;
  readonly told: number;
  /** Why a planned way back was proposed that nobody has approved yet. */
  readonly proposed: readonly string[] | null;
  readonly approved: readonly string[];
  readonly seen: Seen;
}

export interface SoakOptions {
  readonly input: StageInput;
  readonly settings: Settings;
  readonly monitor: Monitor;
  readonly heard: Heard;
  readonly tell: (waitingFor: string | null, more?: Partial<StageProgress>) => Promise<void>;
}

/** The root is told each turn at first, and later now and then: its history has to last. */
const often = { times: 20, thenEveryMs: 5 * 60_000 };

/** null where PostgreSQL does not answer: nobody waits for it long, because nothing else is heard meanwhile. */
export const routesNow = async () => (await showing.routesNow().catch(unlessCancelled)) ?? null;

/** Ends when the time is over and the last decision was to go on; a decision to hold keeps the stage where it is, and so does an operator. */
export const soak = (options: SoakOptions): Promise<StageOutcome> => new Soak(options).run();

class Soak {
  readonly #options: SoakOptions;
  readonly #until: number;
  /** What the stage holds for, as it was told; how often that was, and when last. */
  #held: string | null;
  #told: number;
  #toldAt = 0;

  constructor(options: SoakOptions) {
    const { stage, going } = options.input;
    this.#options = options;
    this.#until = going?.until ?? Date.now() + stage.soakSeconds * 1000;
    this.#held = going?.held ?? null;
    this.#told = going?.told ?? 0;
  }

  async run(): Promise<StageOutcome> {
    const { monitor, heard, input, tell } = this.#options;
    let reason = reasonTo(monitor.seen.state.last);
    /** Why a planned way back was proposed: it waits for its approval, and is dropped when things are well again. */
    let proposed = input.going?.proposed ?? null;
    const agreed = () => proposed !== null && heard.approved.has('rollback');
    const over = () => heard.advanced || agreed();
    for (;;) {
      if (proposed !== null && agreed()) return { is: 'back', mode: 'planned', reasons: proposed };
      const late = Date.now() >= this.#until;
      const operator = late && reason === null && !over() ? await this.#operator() : null;
      if (over()) return this.#ended(reason);
      if (proposed === null) await this.#hold(reason ?? operator);
      if (late && reason === null && operator === null) return { is: 'passed' };
      await this.#renew(proposed);

      const decision = await monitor.watch(this.#stretch({ late, proposed, operator }), over);
      if (decision.action === 'rollback' && decision.mode !== 'planned') {
        if (proposed === null) await this.#propose(decision);
        return { is: 'back', mode: decision.mode!, reasons: decision.reasons.map(reasonText) };
      }
      if (proposed === null) {
        reason = reasonTo(decision);
        if (decision.action !== 'rollback') continue;
        await this.#propose(decision);
        proposed = decision.reasons.map(reasonText);
      } else if (decision.action !== 'rollback' && !over()) {
        await tell(null, { decision: { decision: 'no rollback', reason: 'what spoke for it has passed' } });
        proposed = null;
        reason = reasonTo(decision);
        this.#held = null;
      }
    }
  }

  /** How long to watch, ms; what is found sooner ends it. The routing of a stage that holds for an operator is looked at every few samples. */
  #stretch(now: { late: boolean; proposed: unknown; operator: string | null }): number {
    const sampleMs = this.#options.settings.sampleSeconds * 1000;
    const left = this.#until - Date.now();
    if (now.operator !== null) return 3 * sampleMs;
    return now.late || now.proposed !== null ? sliceMs : Math.max(left, sampleMs);
  }

  /** An operator goes on: what spoke against it is kept with the decision. */
  async #ended(although: string | null): Promise<StageOutcome> {
    const reason = `ended by an operator${although === null ? '' : `, although: ${although}`}`;
    await this.#options.tell(null, { decision: { decision: 'go on', reason } });
    return { is: 'passed', byOperator: true };
  }

  /** Says that the stage holds, why, and that it goes on. */
  async #hold(why: string | null): Promise<void> {
    const turned = (why === null) !== (this.#held === null);
    if (why === this.#held) return;
    if (this.#told >= often.times && Date.now() - this.#toldAt < often.thenEveryMs) return;
    this.#told++;
    this.#toldAt = Date.now();
    this.#held = why;
    const decision = why === null ? { decision: 'go on', reason: nothing } : { decision: 'hold', reason: why };
    const { name } = this.#options.input.stage;
    await this.#options.tell(why === null ? null : `${name} holds: ${why}`, turned ? { decision } : {});
  }

  async #operator(): Promise<string | null> {
    const { stage, collections } = this.#options.input;
    return heldByOperator(stage, await routesNow(), collections);
  }

  /** A stage lasts a week, and may hold for longer: its history is begun anew before it is full. */
  async #renew(proposed: readonly string[] | null): Promise<void> {
    const { input, monitor, heard } = this.#options;
    if (!workflowInfo().continueAsNewSuggested || monitor.pending) return;
    const approved = [...heard.approved];
    const going: Going = {
      until: this.#until,
      held: this.#held,
      told: this.#told,
      proposed,
      approved,
      seen: monitor.seen,
    };
    await continueAsNew<typeof cutoverStage>({ ...input, going });
  }

  /** What is planned says what it waits for; anything graver is done. */
  async #propose(decision: Decision): Promise<void> {
    await this.#options.tell(decision.mode === 'planned' ? 'approve {"gate": "rollback"}' : null, {
      decision: {
        decision: `rollback, ${decision.mode ?? 'planned'}, of ${this.#options.input.stage.name}`,
        reason: sentenceOf(decision),
        severity: decision.severity,
      },
    });
  }
}

type Found = Decision['reasons'][number];
const reasonText = (reason: Found): string =>
  `${reason.trigger}${reason.collection ? ` of ${reason.collection}` : ''}: ${reason.observed}, threshold ${reason.threshold}, ${reason.samples} samples`;
const nothing = 'nothing speaks against it';
const sentenceOf = ({ reasons }: Verdict): string => reasons.slice(0, 3).map(reasonText).join('; ') || nothing;
const reasonTo = (verdict: Verdict): string | null => (verdict.action === 'continue' ? null : sentenceOf(verdict));
