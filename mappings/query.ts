// The words a mapping may use for what the application asks: find(), aggregate(), sql(), get(). Measured on the old and on the new system.
import type { Document, Outcome } from './mapping.ts';

export type Sort = Readonly<Record<string, 1 | -1>>;

/** A question to MongoDB. Of the old system it goes to the collection the document was taken from, of the new one to `collection`. */
export interface FindQuestion {
  readonly store: 'mongodb';
  readonly collection?: string;
  readonly filter: Document;
  readonly sort?: Sort;
  readonly skip?: number;
  readonly limit?: number;
  /** The exact number of matches is asked for as well, as a page with its total is. */
  readonly counted?: boolean;
}
export interface AggregateQuestion {
  readonly store: 'mongodb';
  readonly collection?: string;
  readonly pipeline: readonly Document[];
}
/** A SELECT with `$1`, `$2`; `sql` is the same for every document. */
export interface SqlQuestion {
  readonly store: 'postgres';
  readonly sql: string;
  readonly values: readonly unknown[];
}
export interface KeyQuestion {
  readonly store: 'redis';
  readonly key: string;
}
export type OldQuestion = FindQuestion | AggregateQuestion;
export type Question = OldQuestion | SqlQuestion | KeyQuestion;

/** The same question put to both systems. `user`: who asks, where the application knows; the router decides by it. */
export interface Questions {
  readonly old: OldQuestion;
  readonly new: Question;
  readonly user?: unknown;
}

/**
 * One access pattern of the application. Its parameters come from documents of the source, so that they are real ones; they are neither
 * stored nor printed. Only reads: nothing measured may change data.
 */
export interface ApplicationQuery {
  /** Names the query in results; unique among all mappings. */
  readonly name: string;
  /** What is asked, in a line for people. */
  readonly asks: string;
  /** What the new system may take, ms; `query_response_time` of the settings otherwise. */
  readonly expectedMs?: number;
  /** How often it is asked, beside the other queries, in a load test. Default 1. */
  readonly weight?: number;
  /** The declared index that serves it: a table's columns (a trailing ` desc` as in the table), or a collection's keys. */
  readonly index?: { readonly target: string; readonly keys: readonly string[] | Sort };
  /** `document` has its fields under their first names, `outcome` is what it became. undefined: this document asks nothing. */
  ask(document: Document, outcome: Outcome): Questions | undefined;
}

export const find = (filter: Document, options: Omit<FindQuestion, 'store' | 'filter'> = {}): FindQuestion => ({
  store: 'mongodb',
  filter,
  ...options,
});
export const aggregate = (pipeline: readonly Document[], collection?: string): AggregateQuestion => ({
  store: 'mongodb',
  pipeline,
  ...(collection !== undefined && { collection }),
});
export const sql = (text: string, ...values: unknown[]): SqlQuestion => ({ store: 'postgres', sql: text, values });
export const get = (key: string): KeyQuestion => ({ store: 'redis', key });
