// usage_records: where v0.1.16-preview's web service left what later versions keep in token_usage. No currency.
import { usageRecordCases } from '../cases/usage-records.ts';
import type { CollectionSeed } from '../shape.ts';
import { byService } from './token-usage.ts';

export const usageRecords: CollectionSeed = {
  collection: 'usage_records',
  mapping: 'token_usage',
  batch: 1000,
  cases: usageRecordCases,
  document(place) {
    const { currency: _none, stock_code: _neither, ...document } = byService(place);
    return document;
  },
};
