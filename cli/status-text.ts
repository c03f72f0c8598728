// A migration's status as a person reads it.
import type { Status } from '../core/state.ts';
import { table } from './output.ts';

/** The source goes on being written to: figures of one moment add up, and say which moment. */
export const figuresOfTheCopy =
  'Of the copy: source is what it has read, where a collection is done, else what was counted when it began. What has changed since comes with change capture, and is in no figure here.';

export function statusText(status: Status): string {
  const parts = [`Migration ${status.migration}: ${status.phase}, ${status.state}.`];
  if (status.lastError) parts.push(reasonText(status.lastError));
  if (status.waitingFor) parts.push(`Waits for: ${status.waitingFor}${commandFor(status.waitingFor)}`);
  const collections = Object.entries(status.collections);
  if (collections.length > 0) {
    const rows = collections.map(([name, its]) => [
      name,
      its.source,
      its.loaded,
      its.quarantined,
      its.skipped,
      `${its.chunksDone}/${its.chunksTotal}`,
    ]);
    parts.push(table(['collection', 'source', 'loaded', 'quarantined', 'skipped', 'chunks'], rows));
    if (rows.some((row) => row[2] !== 0)) parts.push(figuresOfTheCopy);
  }
  const routes = Object.entries(status.routing);
  if (routes.length > 0)
    parts.push(
      table(
        ['routing', 'reads on new, %', 'writes', 'epoch'],
        routes.map(([name, its]) => [name, its.percentage, its.writeMode, its.epoch]),
      ),
    );
  if (status.capture.position !== null)
    parts.push(
      status.capture.lagMs === null
        ? `Change capture has come to ${status.capture.position}.`
        : `Change capture: ${status.capture.lagMs} ms behind, at ${status.capture.position}.`,
    );
  for (const trouble of status.capture.troubles ?? []) parts.push(`Change capture: ${trouble}`);
  if (status.capture.gap)
    parts.push(
      `Gap (${status.capture.gap.kind}): ${status.capture.gap.detail}. Nothing is cut over until \`causeway repair\` has closed it.`,
    );
  if (status.checkpoints.length > 0)
    parts.push(`Checkpoints: ${status.checkpoints.map((one) => `${one.name} (${one.at})`).join(', ')}`);
  if (status.refused.length > 0)
    parts.push(
      `Orders without effect:\n${status.refused
        .slice(-5)
        .map((one) => `  ${one.at} ${one.order}: ${one.reason}`)
        .join('\n')}`,
    );
  return parts.join('\n\n');
}

/** An approval is named as the signal that it is; who sits at a terminal is told the command. */
function commandFor(waitingFor: string): string {
  const gate = /^approve \{"gate": "([\w.-]+)"\}/.exec(waitingFor)?.[1];
  return gate === undefined ? '' : `, by \`causeway approve ${gate}\``;
}

/** Why it does not go on. Of one that was undone or ended from outside that is no error. */
function reasonText({ phase, type, message, advice }: NonNullable<Status['lastError']>): string {
  const what = type === 'Stopped' ? message : `Last error, in ${phase} (${type}): ${message}`;
  return `${what}\nWhat to do: ${advice}`;
}
