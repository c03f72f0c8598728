// Laws of the way back, for every mapping: an untouched document keeps its bytes, a changed one says the change and keeps the rest.
import { deserialize, serialize } from 'bson';
import { describe, expect, test } from 'vitest';
import { loadMappings } from '../../mappings/registry.ts';
import { contentOf, putDocument } from '../../mappings/way-back.ts';
import type { Document } from '../../mappings/mapping.ts';
import { sourceId } from '../../core/identity.ts';
import { generators } from '../../seed/world.ts';

const mappings = await loadMappings();
const settings = { zone: 'Asia/Shanghai', providers: [] };
const decode = (bytes: Uint8Array): Document => deserialize(bytes, { promoteValues: false, promoteLongs: false });

describe.each(generators({ documents: 3000, dirty: 0.5, seed: 11 }).map((one) => [one.shape.collection, one] as const))(
  '%s',
  (_, generator) => {
    const mapping = mappings.get(generator.shape.mapping)!;
    const made = Array.from({ length: generator.plan.count }, (__, i) => generator.make(i));
    test('GetPut: an untouched document keeps its bytes', () => {
      for (const { document } of made) {
        const bytes = serialize(document);
        const content = contentOf(mapping, bytes, settings);
        if (!content) continue;
        const put = putDocument(mapping, sourceId(decode(bytes)['_id']), bytes, content, settings);
        expect(put.bytes).toBe(bytes);
      }
    });
  },
);
