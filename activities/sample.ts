// Sample comparison: random documents of the source, transformed anew, against what stands in the targets.
import { weigh } from '../stores/mongodb/ranges.ts';
import { sampleOf } from '../stores/mongodb/source.ts';
import { query } from '../stores/postgres/connection.ts';
import { atOnce, bytesAtOnce, compareBatch, type Finding } from './compare.ts';
import { mappingOf, type Resources } from './resources.ts';
import { caughtUp, lookOnceMore, untilSettled } from './settled.ts';
import type { CheckResult, ValidationOrder } from './validate.ts';

/** What differs twice when capture has passed its read differs; the other looks are for what had changed by then. */
const enoughLooks = 4;

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
  const { db } = resources.source;
  const findings: Finding[] = [];
  let total = 0;
  let matches = 0;
  let underWay = 0;
  let evicted = 0;
  for (const { id, source } of ids) {
    const { documents, averageBytes } = await weigh(db, source);
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
        evicted += finding.evicted ?? 0;
        if (finding.status === 'match') matches++;
        else suspects.push(finding);
      }
      batch = [];
      bytes = 0;
    };
    for await (const raw of sampleOf(db, source, size, averageBytes)) {
      batch.push(raw);
      bytes += raw.byteLength;
      if (batch.length >= atOnce || bytes >= bytesAtOnce) await compare();
    }
    if (batch.length > 0) await compare();
    let changing: ReadonlySet<string> = new Set();
    const once = new Set<string>();
    const proven: Finding[] = [];
    const again = async (suspected: readonly Finding[]) => {
      const keys = suspected.map((one) => one.record_id);
      // Without capture nothing is under way, and nothing is waited for.
      const passed = async (version?: string) => (await caughtUp(resources, heartbeat, version), true);
      const look = (await lookOnceMore(resources, mapping, { id, source }, keys, order.transform, passed))!;
      changing = look.changing;
      // Twice, because a key may have expired between the two readings of one look.
      const isProven = ({ record_id: record }: Finding) => !changing.has(record) && once.has(record);
      proven.push(...look.differing.filter(isProven));
      const open = look.differing.filter((one) => !isProven(one));
      for (const one of open) if (!changing.has(one.record_id)) once.add(one.record_id);
      return open;
    };
    const differing = await untilSettled(resources, suspects, again, heartbeat, 1000, enoughLooks);
    const left = [...proven, ...differing.filter((one) => !changing.has(one.record_id))];
    underWay += proven.length + differing.length - left.length;
    matches += suspects.length - left.length;
    findings.push(...left.slice(0, 10 - findings.length));
  }
  const details = {
    total_samples: total,
    successful_validations: matches,
    success_rate: total === 0 ? 1 : matches / total,
    // Of those that match: documents that changed faster than they could be read; what was read of them had been replaced each time.
    still_changing: underWay,
    // Keys of theirs that are not in Redis: no difference, as each is in PostgreSQL.
    evicted,
    sample_details: findings,
  };
  return { status: matches === total ? 'passed' : 'failed', details };
}
