// What the web UI shows: search attributes, changed only when they differ, and the story as markdown.
import { setCurrentDetails, upsertSearchAttributes } from '@temporalio/workflow';
import { phases } from '../../core/story.ts';
import { isOver, type MigrationState } from '../../core/state.ts';
import { collectionName, cutoverPercentage, hasAttributes, migrationName, migrationPhase } from './attributes.ts';

/** Names a workflow of the tree, once. */
export function introduce(migration: string, phase: string, story: string, collection?: string): void {
  if (hasAttributes())
    upsertSearchAttributes([
      { key: migrationName, value: migration },
      { key: migrationPhase, value: phase },
      ...(collection === undefined ? [] : [{ key: collectionName, value: collection }]),
    ]);
  setCurrentDetails(story);
}

/** Called wherever something has changed that a page or a search shows. */
export function report(state: MigrationState): void {
  const percentages = Object.values(state.routing).map((route) => route.percentage);
  const percentage = percentages.length === 0 ? 0 : Math.min(...percentages);
  const attributes = `${state.phase} ${percentage}`;
  if (hasAttributes() && attributes !== state.shown) {
    state.shown = attributes;
    upsertSearchAttributes([
      { key: migrationName, value: state.migration },
      { key: migrationPhase, value: state.phase },
      { key: cutoverPercentage, value: percentage },
    ]);
  }
  setCurrentDetails(markdown(state, percentage));
}

/** The least of all collections, and those that are elsewhere by name. */
function trafficOf({ routing }: MigrationState, percentage: number): string {
  const others = Object.entries(routing).filter(([, its]) => its.percentage !== percentage);
  const apart = others.map(([name, its]) => `${name} ${its.percentage} %`).join(', ');
  const writes = [...new Set(Object.values(routing).map((its) => its.writeMode))].join(' and ') || 'old';
  return `Reads on the new system: **${percentage} %**${apart && ` (${apart})`}; writes: **${writes}**`;
}

const number = (value: number) => String(value).replace(/\B(?=(\d{3})+$)/g, ' ');

function markdown(state: MigrationState, percentage: number): string {
  const here = phases.indexOf(state.phase);
  const story = phases
    .map((phase, i) =>
      i === here && !isOver(state.state)
        ? `**${phase}**`
        : i < here || state.state === 'completed'
          ? `${phase} ✓`
          : phase,
    )
    .join(' → ');
  const lines = [`## Migration ${state.migration}: ${state.state}`, '', story, ''];
  if (state.lastError)
    lines.push(
      `> **${state.lastError.phase} failed** (${state.lastError.type}): ${state.lastError.message}`,
      '>',
      `> ${state.lastError.advice}`,
      '',
    );
  if (state.waitingFor) lines.push(`Waits for: \`${state.waitingFor}\``, '');
  if (state.estimate) lines.push(`Estimate: ${state.estimate}`, '');
  if (state.phase === 'cutover') lines.push(trafficOf(state, percentage), '');
  const rows = Object.entries(state.collections);
  if (rows.length > 0) {
    lines.push('| collection | source | loaded | quarantined | skipped | chunks |', '|---|---:|---:|---:|---:|---:|');
    for (const [name, its] of rows)
      lines.push(
        `| ${name} | ${number(its.source)} | ${number(its.loaded)} | ${number(its.quarantined)} | ${number(its.skipped)} | ${its.chunksDone}/${its.chunksTotal} |`,
      );
    lines.push(
      '',
      'Of the copy: source is what it has read, where a collection is done, else what was counted when it began.',
      '',
    );
  }
  if (state.checkpoints.length > 0)
    lines.push(`Checkpoints: ${state.checkpoints.map((checkpoint) => checkpoint.name).join(', ')}`, '');
  for (const { at, order, reason } of state.refused.slice(-3))
    lines.push(`Without effect, \`${order}\` at ${at}: ${reason}`, '');
  if (isOver(state.state))
    lines.push('This is how it stood when its workflow ended; `causeway status` tells what has become of it since.');
  return lines.join('\n').slice(0, 18_000);
}
