// How many chunks a collection is worth: small enough to lose little, few enough that opening them costs little.

export interface ChunkCost {
  readonly documents: number;
  readonly averageBytes: number;
  /** ms to open one range. */
  readonly openMs: number;
}

const smallestDocuments = 10_000;
const largestDocuments = 500_000;
const largestBytes = 512 * 1024 * 1024;
/** Opening all ranges may cost this share of the copy's estimated time. */
const openingShare = 0.1;
/** Documents copied per second, for the estimate only. */
const documentsPerMs = 25;

/** `fixed`: documents per chunk asked for by the operator. */
export function chunkCount(cost: ChunkCost, parallelism: number, fixed?: number): number {
  if (cost.documents === 0) return 1;
  if (fixed !== undefined) return Math.ceil(cost.documents / fixed);
  const bytes = cost.documents * cost.averageBytes;
  const atLeast = Math.ceil(Math.max(cost.documents / largestDocuments, bytes / largestBytes));
  const fine = Math.max(Math.floor(cost.documents / smallestDocuments), bytes > 64 * 1024 * 1024 ? parallelism : 1);
  const copyMs = cost.documents / documentsPerMs + bytes / 50_000;
  const affordable = Math.floor((copyMs * openingShare) / Math.max(cost.openMs, 0.5));
  const wanted = Math.min(fine, parallelism * 4, affordable);
  // A range server that scans makes many chunks a loss: then few long ones, however large.
  return Math.max(1, wanted, cost.openMs < 20 ? atLeast : 1);
}
