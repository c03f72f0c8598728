// Sample comparison: random documents of the source, transformed anew, against what stands in the targets.
import { idFromSourceId } from '../core/identity.ts';
import { weigh } from '../stores/mongodb/ranges.ts';
import { readDocuments, sampleOf } from '../stores/mongodb/source.ts';
import { query } from '../stores/postgres/connection.ts';
import { atOnce, bytesAtOnce, compareBatch, type Finding } from './compare.ts';
import { mappingOf, type Resources } from './resources.ts';
import { untilSettled } from './settled.ts';
import type { CheckResult, ValidationOrder } from './validate.ts';

/** `sampleRate` of the documents, but at least `sampleMinimum` and at most `sampleMaximum`; never more than there are. */
export async function compareSample(
  resources: Resources,
  order: ValidationOrder,
  heartbeat: () => void,
): Promise<CheckResult> {
  const mapping = mappingOf(resources, order.collection);
  const ids = await query<{ id: number; source: string }>(
    resources.postgres,
    'reading collections',
    'select id, source from migration_control.collections where mapping = $1 order by id',
    [order.collection],
  );
  const findings: Finding[] = [];
  let total = 0;
  let matches = 0;
  for (const { id, source } of ids) {
    const { documents, averageBytes } = await weigh(resources.source.db, source);
    const { sampleRate, sampleMinimum, sampleMaximum } = order.settings;
    const size = Math.min(documents, Math.max(sampleMinimum, Math.ceil(documents * sampleRate)), sampleMaximum);
    if (size === 0) continue;
    let batch: Buffer[] = [];
    let bytes = 0;
    const suspects: Finding[] = [];
    const compare = async () => {
      heartbeat();
      for (const finding of await compareBatch(resources, mapping, id, batch, order.transform)) {
        total++;
        if (finding.status === 'match') matches++;
        else suspects.push(finding);
      }
      batch = [];
      bytes = 0;
    };
    for await (const raw of sampleOf(resources.source.db, source, size, averageBytes)) {
      batch.push(raw);
      bytes += raw.byteLength;
      if (batch.length >= atOnce || bytes >= bytesAtOnce) await compare();
    }
    if (batch.length > 0) await compare();
    // The document may have changed since it was read: it is read again when capture has passed that.
    const again = async (suspected: readonly Finding[]) => {
      const ids = suspected.map((one) => one.record_id);
      const raws = [...(await readSome(resources, source, ids)).values()];
      return (await compareBatch(resources, mapping, id, raws, order.transform)).filter(
        (one) => one.status !== 'match',
      );
    };
    const left = await untilSettled(resources, suspects, again, heartbeat, 1000);
    matches += suspects.length - left.length;
    findings.push(...left.slice(0, 10 - findings.length));
  }
  const details = {
    total_samples: total,
    successful_validations: matches,
    success_rate: total === 0 ? 1 : matches / total,
    sample_details: findings,
  };
  return { status: matches === total ? 'passed' : 'failed', details };
}

/** Of `ids`, those that the source collection has now. */
export async function readSome(
  resources: Resources,
  source: string,
  ids: readonly string[],
): Promise<Map<string, Uint8Array>> {
  const { client, db } = resources.source;
  return (await readDocuments(client, db, source, ids.map(idFromSourceId))).documents;
}
