// The indexes the application creates, as far as data without unique keys can have them.
import type { Db, IndexSpecification } from 'mongodb';

/**
 * Left out: unique constraints (plain installations have none, and the dirt contains duplicates), the TTL on
 * user_sessions.created_at (it would delete the seed), and indexes on fields that do not exist.
 */
export const indexes: Readonly<Record<string, readonly IndexSpecification[]>> = {
  token_usage: [{ timestamp: -1, provider: 1, model_name: 1 }, { session_id: 1 }, { analysis_type: 1 }],
  usage_records: [],
  users: [{ username: 1 }, { email: 1 }, { created_at: 1 }],
  subscription_users: [{ username: 1 }, { email: 1 }],
  analysis_results: [
    { symbol: 1, analysis_type: 1 },
    { created_at: -1 },
    { symbol: 1, created_at: -1 },
    { user_id: 1 },
  ],
  analysis_reports: [
    { stock_symbol: 1, analysis_date: -1, timestamp: -1 },
    { analysis_id: 1 },
    { status: 1 },
    { task_id: 1 },
    { created_at: -1 },
  ],
  sessions: [{ session_id: 1 }, { user_id: 1 }, { expires_at: 1 }, { created_at: 1 }],
  user_sessions: [{ session_id: 1 }, { user_id: 1 }, { created_at: -1 }],
  metadata: [{ key: 1 }],
  system_config: [{ key: 1 }],
  configurations: [{ key: 1 }, { config_type: 1, config_name: 1 }],
  stock_daily_quotes: [
    { symbol: 1, trade_date: 1, data_source: 1, period: 1 },
    { symbol: 1 },
    { trade_date: -1 },
    { symbol: 1, trade_date: -1 },
  ],
};

/**
 * Creates them one by one; returns a sentence for each the server does not take. To be called on empty collections: secantusd
 * builds an index in one transaction, which on 400,000 documents never fits its cache and is retried for ever.
 */
export async function createIndexes(db: Db, collection: string): Promise<string[]> {
  const refused: string[] = [];
  for (const keys of indexes[collection] ?? []) {
    try {
      await db.collection(collection).createIndex(keys);
    } catch (error) {
      refused.push(`${collection} ${JSON.stringify(keys)}: ${error instanceof Error ? error.message : String(error)}`);
    }
  }
  return refused;
}
