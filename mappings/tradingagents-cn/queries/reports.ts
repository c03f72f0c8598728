// What the application asks of its reports, in the old collections and in the optimised one.
import { symbolFields } from '../fields/optimised.ts';
import type { Document, Outcome } from '../../mapping.ts';
import { find, type ApplicationQuery } from '../../query.ts';

export const optimised = 'analysis_results_optimized';
const reportOf = (outcome: Outcome) => outcome[optimised]![0] as Document;

export const reportQueries: readonly ApplicationQuery[] = [
  {
    name: 'reports_list',
    asks: 'market=, sort created_at desc, a page of 20 and the exact count',
    index: { target: optimised, keys: { market: 1, created_at: -1 } },
    ask(document, outcome) {
      const { market } = reportOf(outcome);
      if (market === undefined || document['market_type'] === undefined) return undefined;
      const page = { sort: { created_at: -1 }, skip: 0, limit: 20, counted: true } as const;
      return {
        old: find({ market_type: document['market_type'] }, page),
        new: find({ market }, { ...page, collection: optimised }),
      };
    },
  },
  {
    name: 'report_detail',
    asks: '_id, analysis_id or task_id',
    index: { target: optimised, keys: { analysis_id: 1 } },
    ask(document, outcome) {
      const { analysis_id: id } = reportOf(outcome);
      if (typeof id !== 'string' || id === '') return undefined;
      return {
        old: find(
          { $or: [{ analysis_id: document['analysis_id'] }, { task_id: document['analysis_id'] }] },
          { limit: 1 },
        ),
        new: find({ analysis_id: id }, { limit: 1, collection: optimised }),
      };
    },
  },
  {
    name: 'symbol_reports',
    asks: 'of a stock, newest first, limit 100',
    index: { target: optimised, keys: { symbol: 1, created_at: -1 } },
    ask(document, outcome) {
      const field = symbolFields.find((name) => typeof document[name] === 'string' && document[name] !== '');
      if (field === undefined) return undefined;
      return {
        old: find({ [field]: document[field] }, { sort: { created_at: -1 }, limit: 100 }),
        new: find(
          { symbol: reportOf(outcome)['symbol'] },
          { sort: { created_at: -1 }, limit: 100, collection: optimised },
        ),
      };
    },
  },
  {
    name: 'user_analysis_history',
    asks: 'of a user: user_id=, sort created_at desc, limit 50',
    expectedMs: 100,
    index: { target: optimised, keys: { user_id: 1, created_at: -1 } },
    ask(document, outcome) {
      const { user_id: user } = reportOf(outcome);
      if (user === undefined) return undefined;
      const newest = { sort: { created_at: -1 }, limit: 50 } as const;
      return {
        old: find({ user_id: document['user_id'] }, newest),
        new: find({ user_id: user }, { ...newest, collection: optimised }),
        user,
      };
    },
  },
];
