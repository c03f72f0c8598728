// What the application asks of daily quotes: the same questions, to both systems. They stand with the mapping of today until it goes.
import today from '../collections/stock-daily-quotes.ts';
import type { ApplicationQuery } from '../query.ts';

export const quoteQueries: readonly ApplicationQuery[] = today.queries;
