// TradingAgents-CN in the language: the application, as a whole.
import type { Declaration } from '../language/declare.ts';
import analyses from './analyses.ts';
import metadata from './metadata.ts';
import quotes from './quotes.ts';
import sessions from './sessions.ts';
import tokenUsage from './token-usage.ts';
import users from './users.ts';

export const application: readonly Declaration[] = [metadata, users, tokenUsage, quotes, analyses, sessions];
