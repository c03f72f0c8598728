// Whether the traffic may go on, must wait or must go back: a pure function of what was observed. No clock, no randomness, no I/O.
import type { Evidence } from './evidence.ts';
import { measure, type Measurement, type Trigger, type TriggerSource } from './measure.ts';
import { severities, type Policy, type Severity } from './policy.ts';
import { learn, type Baselines } from './throughput.ts';

export { evidenceSchema, type Evidence } from './evidence.ts';
export { policySchema, defaultPolicy, type Policy, type Severity } from './policy.ts';

export interface Reason {
  readonly trigger: Trigger;
  /** Absent where the trigger concerns all collections together. */
  readonly collection?: string;
  readonly source?: TriggerSource;
  readonly observed: number | string;
  readonly threshold: number | string;
  /** What the observation rests on: reads, probes, documents. */
  readonly samples: number;
  /** s */
  readonly window: number;
  readonly severity: Severity;
  /** Intervals in a row that have shown it, and how many it takes. Fewer: not yet a reason to go back. */
  readonly seen: number;
  readonly needed: number;
}

export interface Verdict {
  /** `hold`: the traffic stays where it is. */
  readonly action: 'continue' | 'hold' | 'rollback';
  /** `immediate`: at once. `expedited`: drain first. `planned`: when somebody has approved it. Only with `rollback`. */
  readonly mode?: 'immediate' | 'expedited' | 'planned';
  readonly severity: Severity;
  /** The gravest first. */
  readonly reasons: readonly Reason[];
}

export interface Decision extends Verdict {
  readonly state: DecisionState;
}

/** What is remembered between two decisions: small, JSON, lives in a workflow's state. */
export interface DecisionState {
  readonly v: 1;
  /** End of the last interval that was judged; empty before the first. */
  readonly seen: string;
  /** Trigger (with collection and source) -> intervals in a row that showed it, and the end of the last of them. */
  readonly breached: Readonly<Record<string, { readonly count: number; readonly at: string }>>;
  readonly baselines: Baselines;
  /** The decision about the interval `seen`. */
  readonly last: Verdict;
}

export const undecided: DecisionState = {
  v: 1,
  seen: '',
  breached: {},
  baselines: {},
  last: { action: 'continue', severity: 'none', reasons: [] },
};

/**
 * `evidence`: one per sampling interval, newest last; older ones serve the windows (`windowOf` tells how many). Intervals that `state` has
 * not seen are judged in order, each once; the decision is that of the newest. Asked again with nothing new, it answers the same.
 */
export function decide(evidence: readonly Evidence[], policy: Policy, state: DecisionState = undecided): Decision {
  let current = state;
  for (const [i, one] of evidence.entries())
    if (current.seen === '' || Date.parse(one.to) > Date.parse(current.seen))
      current = judge(evidence.slice(Math.max(0, i + 1 - windowOf(policy)), i + 1), policy, current);
  return { ...current.last, state: current };
}

/** How many intervals the policy looks at together: older ones need not be kept. */
export const windowOf = (policy: Policy): number => Math.max(policy.errorRate.window, policy.validationFailures.window);

/** Whether two verdicts say the same of the same triggers, whatever the figures. */
export function sameFinding(a: Verdict, b: Verdict): boolean {
  const triggers = ({ reasons }: Verdict) => [...new Set(reasons.map(keyOf))].sort().join();
  return a.action === b.action && a.mode === b.mode && triggers(a) === triggers(b);
}

/** The newest interval, with those its windows reach back to. */
function judge(evidence: readonly Evidence[], policy: Policy, state: DecisionState): DecisionState {
  const newest = evidence.at(-1)!;
  const at = newest.to;
  const age = (since: string) => (Date.parse(at) - Date.parse(since)) / 1000;
  // What cannot be judged now keeps its count for a while: silence is no sign of health.
  const breached = Object.fromEntries(
    Object.entries(state.breached).filter(([, its]) => age(its.at) <= policy.forgetSeconds),
  );
  const reasons: Reason[] = [];
  const slow = new Set<string>();
  for (const one of measure(evidence, policy, state.baselines)) {
    const key = keyOf(one);
    if (one.breached === false) delete breached[key];
    if (!one.breached) continue;
    const seen = Math.min(1000, (breached[key]?.count ?? 0) + 1);
    breached[key] = { count: seen, at };
    if (one.trigger === 'throughput_decrease') slow.add(one.collection!);
    const { breached: _, ...reason } = one;
    reasons.push({ ...reason, seen });
  }
  return {
    v: 1,
    seen: at,
    breached,
    baselines: learn(state.baselines, newest, slow, policy),
    last: verdictOf(reasons, policy),
  };
}

const keyOf = ({ trigger, collection, source }: Pick<Measurement, 'trigger' | 'collection' | 'source'>): string =>
  [trigger, collection, source].filter((part) => part !== undefined).join(' ');

const rank = (severity: Severity): number => severities.indexOf(severity);
const modes = { critical: 'immediate', high: 'expedited', medium: 'planned' } as const;

function verdictOf(found: readonly Reason[], policy: Policy): Verdict {
  const reasons = [...found].sort((a, b) => rank(b.severity) - rank(a.severity) || b.seen - a.seen);
  const fired = reasons.filter((one) => one.severity !== 'low' && one.seen >= one.needed);
  if (fired.length === 0)
    return reasons.length === 0
      ? { action: 'continue', severity: 'none', reasons }
      : { action: 'hold', severity: 'low', reasons };
  const worst = fired.reduce((grave, one) => Math.max(grave, rank(one.severity)), 0);
  const medium = new Set(fired.filter((one) => one.severity === 'medium').map((one) => one.trigger));
  const escalated = medium.size >= policy.escalateAt ? Math.max(worst, rank('high')) : worst;
  const severity = severities[escalated] as keyof typeof modes;
  return { action: 'rollback', mode: modes[severity], severity, reasons };
}
