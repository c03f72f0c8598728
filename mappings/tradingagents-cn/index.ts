// TradingAgents-CN in the language: the application, as a whole.
import type { Declaration } from '../language/declare.ts';
import quotes from './quotes.ts';
import tokenUsage from './token-usage.ts';
import users from './users.ts';

export const application: readonly Declaration[] = [users, tokenUsage, quotes];
