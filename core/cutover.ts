// Stages of the cutover as rules: what must hold before one begins, and where to go when one fails. Pure.
import type { Stage } from './settings.ts';
import type { Route, WriteMode } from './state.ts';

/** Where traffic is to stand, for every collection. */
export interface Standing {
  readonly percentage: number;
  readonly writes: WriteMode;
}

/** How a stage ended: it passed, or its traffic has to go back. */
export type StageOutcome =
  /** `byOperator`: ended before its time, with the traffic as it was. */
  | { readonly is: 'passed'; readonly byOperator?: true }
  | {
      readonly is: 'back';
      readonly mode: 'immediate' | 'expedited' | 'planned';
      readonly reasons: readonly string[];
    };

/** What an earlier stage left, or what there was before the first: both systems written, everything read from the old. */
export function standingBefore(stages: readonly Stage[], index: number): Standing {
  const before = stages[index - 1];
  return before ? { percentage: before.percentage, writes: before.writes } : { percentage: 0, writes: 'dual_write' };
}

/** Back to where a failed stage's traffic goes: one stage back, and in an emergency all of it to the old system. */
export function retreatFrom(
  stages: readonly Stage[],
  index: number,
  mode: 'immediate' | 'expedited' | 'planned',
): { readonly stage: number; readonly standing: Standing } {
  if (mode === 'immediate') return { stage: 0, standing: { percentage: 0, writes: 'dual_write' } };
  return { stage: index, standing: standingBefore(stages, index) };
}

/** Why a stage does not end by itself: an operator has sent it fewer reads than it is there to try. null: nobody has. `routes` null: unknown. */
export function heldByOperator(
  stage: Pick<Stage, 'name' | 'percentage'>,
  routes: Readonly<Record<string, Route>> | null,
  collections: readonly string[],
): string | null {
  if (routes === null) return 'where the reads go cannot be read now';
  const lower = collections.filter((name) => (routes[name]?.percentage ?? 0) < stage.percentage);
  if (lower.length === 0) return null;
  const which = lower.map((name) => `${name} ${routes[name]?.percentage ?? 0} %`).join(', ');
  return `fewer reads go to the new system than its ${stage.percentage} % (${which}). \`causeway cutover set ${stage.percentage}\` sends them there, \`causeway cutover advance\` goes on as it is`;
}

/** What a gate looks at before a stage begins. */
export interface GateFacts {
  readonly lagMs: number | null;
  readonly gap: string | null;
  /** Status of the newest validation, by collection; absent where none ran. */
  readonly validation: Readonly<Record<string, 'passed' | 'failed' | 'error'>>;
  /** Share of quarantined documents, by collection. */
  readonly quarantine: Readonly<Record<string, number>>;
  /** Changes of the new system that the old one does not have, and their age, ms; null where there is no way back yet. */
  readonly reverse: { readonly waiting: number; readonly lagMs: number } | null;
}

export interface GateLimits {
  readonly lagMs: number;
  readonly quarantineShare: number;
  readonly collections: readonly string[];
}

/** A sentence per gate that is shut; none: the stage may begin. */
export function shutGates(facts: GateFacts, limits: GateLimits): string[] {
  const shut: string[] = [];
  if (facts.gap !== null) shut.push(`change capture has a gap: ${facts.gap}. Run \`causeway repair\`.`);
  if (facts.lagMs === null) shut.push('change capture has not been opened.');
  else if (facts.lagMs > limits.lagMs)
    shut.push(`change capture is ${Math.round(facts.lagMs)} ms behind; at most ${limits.lagMs} ms are allowed.`);
  for (const collection of limits.collections) {
    const status = facts.validation[collection];
    if (status !== 'passed')
      shut.push(
        `the last validation of ${collection} ${status ? `ended ${status}` : 'is missing'}. Run \`causeway validate\`.`,
      );
    const share = facts.quarantine[collection] ?? 0;
    if (share > limits.quarantineShare)
      shut.push(
        `${(share * 100).toFixed(1)} % of ${collection} are quarantined; at most ${(limits.quarantineShare * 100).toFixed(1)} % are allowed. See \`causeway quarantine list\`.`,
      );
  }
  if (facts.reverse && facts.reverse.lagMs > limits.lagMs)
    shut.push(`the way back is ${facts.reverse.lagMs} ms behind with ${facts.reverse.waiting} changes.`);
  return shut;
}
