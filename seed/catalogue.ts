// All collections of the seed, in the order they are written.
import { analysisReports } from './collections/analysis-reports.ts';
import { analysisResults } from './collections/analysis-results.ts';
import { configurations } from './collections/configurations.ts';
import { metadata } from './collections/metadata.ts';
import { sessions } from './collections/sessions.ts';
import { stockDailyQuotes } from './collections/stock-daily-quotes.ts';
import { subscriptionUsers } from './collections/subscription-users.ts';
import { systemConfig } from './collections/system-config.ts';
import { tokenUsage } from './collections/token-usage.ts';
import { usageRecords } from './collections/usage-records.ts';
import { userSessions } from './collections/user-sessions.ts';
import { users } from './collections/users.ts';
import type { CollectionSeed } from './shape.ts';

export const catalogue: readonly CollectionSeed[] = [
  users,
  subscriptionUsers,
  metadata,
  systemConfig,
  configurations,
  analysisResults,
  analysisReports,
  sessions,
  userSessions,
  stockDailyQuotes,
  usageRecords,
  tokenUsage,
];
