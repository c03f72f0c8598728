// What every part of one verification shares: where documents come from, how they are transformed, what may be looked at.
import type { TransformSettings } from '../../mappings/settings.ts';
import { clusterTimeOf, millisecondsOf } from '../../stores/mongodb/source.ts';
import { inForce } from '../policy.ts';
import { enrolledIn } from '../outside.ts';
import { mappingOf, type Resources } from '../resources.ts';
import type { Slice } from '../capture/slice.ts';
import { absentParents, type Ground } from './read-back.ts';

/** What a verification is asked for. Ids, names and settings only. */
export interface VerifyOrder {
  /** Mapping names; all where undefined. */
  readonly collections?: readonly string[] | undefined;
  readonly zone: string;
  readonly providers: readonly string[];
  readonly configurationDirectory: string;
  /** At most this many documents or rows are compared per second; 0: as many as there are. */
  readonly rowsPerSecond: number;
  /** Keys that Redis has forgotten are set again. */
  readonly restoreKeys?: boolean | undefined;
}

export interface Verifier {
  readonly resources: Resources;
  readonly order: VerifyOrder;
  readonly run: number;
  /** All source collections of the migration. */
  readonly grounds: readonly Ground[];
  /** Those to be verified. */
  readonly scope: readonly Ground[];
  readonly slice: Slice;
  /** `version`: of the write whose image is wanted, because a transform may know its time. */
  transformAt(version: bigint): TransformSettings;
}

export async function verifierOf(
  resources: Resources,
  asked: VerifyOrder,
  run: number,
  slice: Slice,
): Promise<Verifier> {
  const order = await inForce(resources.postgres, asked);
  const enrolled = await enrolledIn(resources.postgres);
  const absent = await absentParents(
    resources.postgres,
    enrolled.map(({ mapping }) => mappingOf(resources, mapping)),
  );
  const grounds = enrolled.map(({ id, mapping, source }) => ({
    mapping: mappingOf(resources, mapping),
    source,
    collectionId: id,
    absent,
  }));
  const scope = grounds.filter((one) => order.collections?.includes(one.mapping.collection) ?? true);
  return {
    resources,
    order,
    run,
    grounds,
    scope,
    slice,
    transformAt: (version) => ({ zone: order.zone, providers: order.providers, asOf: millisecondsOf(version) }),
  };
}

export const scopeOf = (collections: readonly string[] | undefined): string =>
  collections === undefined ? 'all' : [...collections].sort().join(',');

/** The source's cluster time: whatever was written before is not later. */
export const sourceNow = ({ source }: Pick<Resources, 'source'>): Promise<bigint> => clusterTimeOf(source.db);

/** Keeps the verifier below its rate, so that it leaves room for the application. */
export class Throttle {
  readonly #perSecond: number;
  #free = performance.now();

  constructor(perSecond: number) {
    this.#perSecond = perSecond;
  }

  /** How large a piece may be, so that a slow verifier is slow evenly. */
  atOnce(most: number): number {
    return this.#perSecond <= 0 ? most : Math.max(100, Math.min(most, Math.ceil(this.#perSecond)));
  }

  /** ms to wait before the next piece, after one of `compared`. */
  after(compared: number): number {
    if (this.#perSecond <= 0) return 0;
    const now = performance.now();
    this.#free = Math.max(this.#free, now - 1000) + (compared * 1000) / this.#perSecond;
    return Math.max(0, this.#free - now);
  }
}
