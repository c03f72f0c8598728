// Why a document was set aside: a rule, a path, a sentence. Never the document's values. And how many may be.

/** Thrown by mappings, caught by the transform, which writes the document to `migration_errors` and goes on. */
export class Quarantined extends Error {
  readonly rule: string;
  readonly path: string;

  constructor(rule: string, path: string, message: string) {
    super(message);
    this.name = 'Quarantined';
    this.rule = rule;
    this.path = path;
  }
}

/** Sets the document aside. `message` says what is wrong with the field, without its value. */
export function quarantine(rule: string, path: string, message: string): never {
  throw new Quarantined(rule, path, message);
}

/** The rule of documents whose `_id` another source collection of their mapping has, with a document that is loaded. */
export const sameIdRule = 'source_id_unique';
/** The rule of documents that their own table refused. */
export const refusedRule = 'target_refused';
/** The rule of documents that alone could not be applied, though nothing says that a value of theirs is refused. */
export const notAppliedRule = 'not_applied';

export interface QuarantineCount {
  readonly collection: string;
  /** Documents that the source has: loaded, quarantined and skipped. */
  readonly documents: number;
  readonly quarantined: number;
}

export interface QuarantineShare {
  /** Of all documents of these collections. */
  readonly total: QuarantineCount & { readonly share: number };
  readonly collections: readonly (QuarantineCount & { readonly share: number; readonly over: boolean })[];
  readonly budget: number;
  /** No collection, and not their sum, exceeds the budget. */
  readonly passed: boolean;
  /** What exceeds it, as a person reads it; empty where it passed. */
  readonly reason: string;
}

const shareOf = ({ documents, quarantined }: Pick<QuarantineCount, 'documents' | 'quarantined'>): number =>
  documents === 0 ? 0 : quarantined / documents;

/** Compares each collection's share of quarantined documents, and that of all together, with `budget` (0 to 1). A share equal to it passes. */
export function judgeQuarantine(counts: readonly QuarantineCount[], budget: number): QuarantineShare {
  const sum = (of: 'documents' | 'quarantined') => counts.reduce((total, one) => total + one[of], 0);
  const all = { collection: 'total', documents: sum('documents'), quarantined: sum('quarantined') };
  const total = { ...all, share: shareOf(all) };
  const collections = counts.map((one) => ({ ...one, share: shareOf(one), over: shareOf(one) > budget }));
  const sumIsOver = collections.length > 1 && total.share > budget;
  const over = [...collections.filter((one) => one.over), ...(sumIsOver ? [total] : [])];
  const percent = (share: number) => `${Number((share * 100).toPrecision(3))} %`;
  return {
    total,
    collections,
    budget,
    passed: over.length === 0,
    reason:
      over.length === 0
        ? ''
        : `${over.map((one) => `${one.collection} has ${one.quarantined} of ${one.documents} documents in quarantine (${percent(one.share)})`).join(', ')}; quarantineBudget allows ${percent(budget)}. \`causeway quarantine list\` says why; when the cause is corrected, \`causeway quarantine retry\`. To allow more: \`causeway abort\`, then \`causeway start --config FILE\` with a larger quarantineBudget (docs/settings.md).`,
  };
}
