// Law 4: the compiled reader gives bit for bit what the plain one gives, or declines the document.
import { deserialize, serialize } from 'bson';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { sourceIdOf } from '../../core/identity.ts';
import { shownOf } from '../../core/bson/shown.ts';
import type { Settings } from '../../mappings/language/codec.ts';
import { mapping, table, type Declaration } from '../../mappings/language/declare.ts';
import { compile } from '../../mappings/language/fast/compile.ts';
import { encodeRow } from '../../mappings/language/fast/encode.ts';
import { CopyOutput } from '../../mappings/language/fast/output.ts';
import { forward, tablesOf } from '../../mappings/language/forward.ts';
import { planOf, sqlColumns } from '../../mappings/language/plan.ts';
import { bigint, bool, decimal, double, instant, int, residual, text } from '../../mappings/language/words.ts';
import tokenUsage from '../../mappings/tradingagents-cn/token-usage.ts';
import { Reference } from '../../stores/postgres/target.ts';
import { generators } from '../../seed/world.ts';
import { documentsFor } from './generated.ts';
import { coupons, categories } from './samples.ts';

const runs = Number(process.env['CAUSEWAY_LAW_RUNS'] ?? 500);
const settings: Settings = { asOf: Date.UTC(2100, 0, 1), zone: 'Asia/Shanghai', providers: [] };
const everything = mapping('everything', {
  class: 'historical',
  to: table('everything', {
    a: text(),
    b: text().required().from('b', 'B'),
    c: int().required(),
    d: bigint().orElse(7n),
    e: decimal(20, 12).atLeast(0, 'positive'),
    f: double(),
    g: bool().orElse(true, 'warned'),
    h: instant(),
    i: instant({ natural: 'text', zone: 'Europe/Berlin' }),
    j: text().oneOf(['x', 'y', 'ü']),
    metadata: residual({ spread: 'metadata' }),
    k: decimal(8, 2).required(),
  }),
});

/** The row as the plain reader gives it, in COPY binary; undefined where the document has none. */
function slow(declaration: Declaration, bytes: Uint8Array): Buffer | undefined {
  const result = forward(declaration, bytes, settings);
  if (result.state !== 'loaded') return undefined;
  const [its] = tablesOf(declaration);
  const row = result.content.rows[its!.name]!;
  const resolved = Object.fromEntries(
    Object.entries(row).map(([name, value]) => [name, value instanceof Reference ? 1n : value]),
  );
  const out = new CopyOutput(256);
  encodeRow(out, sqlColumns(planOf(its!.columns)), sourceIdOf(bytes), resolved);
  return Buffer.from(out.written);
}

/** How many documents were taken. */
function compared(declaration: Declaration, documents: Iterable<Uint8Array>): number {
  const read = compile(declaration)!;
  const out = new CopyOutput(256);
  let taken = 0;
  for (const document of documents) {
    out.at = 0;
    const bytes = Buffer.from(document);
    if (!read(bytes, out, settings)) {
      expect(out.at).toBe(0);
      continue;
    }
    taken++;
    expect(out.written.toString('hex'), JSON.stringify(shownOf(document))).toBe(
      slow(declaration, document)?.toString('hex'),
    );
  }
  return taken;
}

describe.each([everything, coupons, categories, tokenUsage].map((one) => [one.collection, one] as const))(
  '%s',
  (name, declaration) => {
    test('any document', () => {
      let taken = 0;
      const documents = fc.oneof(
        documentsFor(declaration, { share: 0, plain: true }),
        documentsFor(declaration, { share: 0 }),
        documentsFor(declaration, { share: 10, faults: true }),
      );
      fc.assert(
        fc.property(documents, (bytes) => {
          taken += compared(declaration, [bytes]);
        }),
        { numRuns: runs },
      );
      if (name === 'everything') expect(taken).toBeGreaterThan(runs / 250);
    });

    test('any bytes cut short or changed', () => {
      fc.assert(
        fc.property(documentsFor(declaration, { share: 0, plain: true }), fc.nat(), fc.nat(255), (bytes, at, byte) => {
          const changed = Buffer.from(bytes);
          changed[at % changed.length] = byte;
          compared(declaration, [changed, bytes.subarray(0, at % bytes.length)]);
        }),
        { numRuns: runs },
      );
    });
  },
);

test('numbers, text by text', () => {
  const number = fc.oneof(
    fc.integer({ min: 0, max: 2 ** 31 }).map((its) => its / 1e6),
    fc.integer({ min: 0, max: 2 ** 31 }).map((its) => its / 100),
    fc.double({ min: 0, max: 1e9, noNaN: true }),
    fc.constantFrom(
      0,
      0.1,
      0.30000000000000004,
      1e-6,
      1e-7,
      123456.789,
      9999,
      10000,
      99999999.999999,
      0.0012000000000000001,
    ),
  );
  let taken = 0;
  fc.assert(
    fc.property(number, (its) => {
      taken += compared(
        everything,
        [serialize({ _id: id, b: 'b', c: 1, g: true, e: its, k: 1.5 }, { ignoreUndefined: true })].map(asDoubles),
      );
    }),
    { numRuns: runs * 2 },
  );
  expect(taken).toBeGreaterThan(runs / 2);
});

const usage = generators({ documents: 3000, dirty: 0.5, seed: 11 }).filter(
  (one) => one.shape.mapping === 'token_usage',
);
const { ObjectId, Double } = await import('bson');
const id = new ObjectId('64b000000000000000000001');
const asDoubles = (bytes: Uint8Array) => {
  const document = deserialize(bytes) as Record<string, unknown>;
  return serialize({ ...document, e: new Double(document['e'] as number), k: new Double(1.5) });
};

test('the seed’s documents, dirty ones too; of the clean ones most are taken', () => {
  const made = usage.flatMap((one) => Array.from({ length: one.plan.count }, (_, i) => one.make(i)));
  compared(
    tokenUsage,
    made.map(({ document }) => serialize(document)),
  );
  const plain = made
    .filter(({ clean, document }) => clean && '_created_at' in document)
    .map(({ document }) => serialize(document));
  expect(compared(tokenUsage, plain) / plain.length).toBeGreaterThan(0.5);
});
