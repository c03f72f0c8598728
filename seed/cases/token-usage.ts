// The dirt of token_usage: the catalogue is the sum of these tables.
import type { DirtyCase } from '../shape.ts';
import { marker } from './catalogue.ts';
import { costCases } from './token-usage-cost.ts';
import { fieldCases } from './token-usage-fields.ts';
import { identityCases } from './token-usage-identity.ts';
import { timestampCases } from './token-usage-timestamp.ts';

export const tokenUsageCases: readonly DirtyCase[] = [
  ...timestampCases,
  ...costCases,
  ...fieldCases,
  ...identityCases,
  marker('Token usage records'),
];
