// The laws of the language, for documents nobody thought of, over every mapping of the shop.
import fc from 'fast-check';
import { describe } from 'vitest';
import { documentsFor } from './generated.ts';
import { testLaws } from './laws.ts';
import { tabled } from './samples.ts';

describe.each(tabled.map((declaration) => [declaration.collection, declaration] as const))('%s', (_, declaration) => {
  const tame = documentsFor(declaration, { share: 0 });
  const any = fc.oneof(
    tame,
    documentsFor(declaration, { share: 15 }),
    documentsFor(declaration, { share: 30, faults: true }),
  );
  testLaws(declaration, { any, tame, settings: { asOf: Date.UTC(2100, 0, 1) } });
});
