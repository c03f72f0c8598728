// Cells that tables of a report have in common.
import { count, instant } from './figures.ts';
import { html, table, type Cell, type Column, type Markup } from './markup.ts';
import type { Details, Report } from './shape.ts';

export interface Section {
  readonly id: string;
  readonly title: string;
  readonly body: Markup;
}

export const n = (name: string): Column => ({ number: name });
export const number = (value: number | null): Cell => (value === null ? null : count(value));
export const when = (at: string | null): Cell => (at === null ? null : html`<time>${instant(at)}</time>`);

const tones: Record<string, string> = {
  passed: 'good',
  failed: 'bad',
  error: 'bad',
  rollback: 'bad',
  skipped: 'open',
  partial: 'open',
  hold: 'open',
  completed: 'good',
};
export const word = (status: string): Cell => html`<span class="word ${tones[status] ?? ''}">${status}</span>`;

export const list = (details: Details): Cell =>
  details.length === 0 ? null : html`${details.map((one) => html`<div>${one.name}: ${figure(one.value)}</div>`)}`;
const figure = (value: string): string => (/^\d+$/.test(value) ? count(Number(value)) : value);

export const kinds = (rows: Report['divergences'], none: string): Markup =>
  table(
    ['collection', 'kind', n('documents')],
    rows.map((one) => [one.collection, one.kind, count(one.documents)]),
    none,
  );
