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
  if (state.phase === 'cutover') lines.push(`Reads on the new system: **${percentage} %**`, '');
  const rows = Object.entries(state.collections);
  if (rows.length > 0) {
    lines.push('| collection | source | loaded | quarantined | skipped | chunks |', '|---|---:|---:|---:|---:|---:|');
    for (const [name, its] of rows)
      lines.push(
        `| ${name} | ${number(its.source)} | ${number(its.loaded)} | ${number(its.quarantined)} | ${number(its.skipped)} | ${its.chunksDone}/${its.chunksTotal} |`,
      );
    lines.push('');
  }
  if (state.checkpoints.length > 0)
    lines.push(`Checkpoints: ${state.checkpoints.map((checkpoint) => checkpoint.name).join(', ')}`, '');
  for (const { order, reason } of state.refused.slice(-3)) lines.push(`Refused \`${order}\`: ${reason}`);
  return lines.join('\n').slice(0, 18_000);
}
