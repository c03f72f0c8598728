// What the models decided: actions in two languages, confidences on two scales, prices with signs.
import { Double } from 'bson';
import { quarantine } from '../../../core/quarantine.ts';
import type { Notes } from '../../notes.ts';
import { numbersLike } from '../../back/values.ts';
import { readNumber } from '../../fields/number.ts';

export const actions = ['strong_buy', 'buy', 'hold', 'sell', 'strong_sell'] as const;
export type Action = (typeof actions)[number];

const words: Record<string, Action> = {
  强烈买入: 'strong_buy',
  'STRONG BUY': 'strong_buy',
  STRONG_BUY: 'strong_buy',
  买入: 'buy',
  增持: 'buy',
  看多: 'buy',
  BUY: 'buy',
  LONG: 'buy',
  OVERWEIGHT: 'buy',
  持有: 'hold',
  中性: 'hold',
  观望: 'hold',
  HOLD: 'hold',
  NEUTRAL: 'hold',
  卖出: 'sell',
  减持: 'sell',
  看空: 'sell',
  SELL: 'sell',
  SHORT: 'sell',
  UNDERWEIGHT: 'sell',
  强烈卖出: 'strong_sell',
  'STRONG SELL': 'strong_sell',
  STRONG_SELL: 'strong_sell',
};
const word = (text: string): Action | undefined => {
  const key = text.normalize('NFKC').trim().toUpperCase();
  return Object.hasOwn(words, key) ? words[key] : undefined;
};

/** The action in the language and case of the word that stood there; as it is where none did. */
export function actionLike(action: unknown, old: unknown): unknown[] {
  if (typeof old !== 'string' || typeof action !== 'string') return [action];
  const same = Object.keys(words).filter((key) => words[key] === action && isLatin(key) === isLatin(old));
  const latin = /^[a-z\s_]+$/.test(old) ? same.map((key) => key.toLowerCase()) : same;
  return [...(action === action.toLowerCase() && word(old) === old ? [action] : []), ...latin, action];
}

const isLatin = (text: string): boolean => /^[\x20-\x7e]*$/.test(text);

/** A confidence on the scale that the one before was on: percent, with or without the sign, or 0 to 1. */
export function confidenceLike(value: unknown, old: unknown): unknown[] {
  const confidence = Number(String(value));
  const percent = Number((confidence * 100).toPrecision(15));
  const text = typeof old === 'string' ? old.trim() : undefined;
  if (text?.endsWith('%')) return [`${percent}%`, `${confidence * 100}%`];
  const before = readNumber(old);
  if (before.is !== 'number' || Number(before.text) <= 1) return [];
  return [percent, confidence * 100].flatMap((number) => numbersLike(String(number), old)).concat(new Double(percent));
}

/** `买入/持有` is between the two: the more careful one is taken, with a warning. Unknown words quarantine. */
export function readAction(value: unknown, path: string, notes: Notes): Action | undefined {
  if (value === undefined || value === null || value === '') return undefined;
  const found = typeof value === 'string' ? [word(value), ...value.split(/[/、|]/).map(word)] : [];
  const action =
    found[0] ?? (found.length > 2 && found.slice(1).every((one) => one !== undefined) ? found.at(-1) : undefined);
  if (action === undefined) quarantine('action_known', path, 'the action is not known');
  if (found[0] === undefined) notes.warn('action_ambiguous');
  if (action !== value) notes.keep(path, value);
  return action;
}

/** 0 to 1; 85 and "85%" are percent. Anything else is left out, the original kept. */
export function readConfidence(value: unknown, path: string, notes: Notes): Double | undefined {
  if (value === undefined) return undefined;
  const percent = typeof value === 'string' && value.trim().endsWith('%');
  const read = readNumber(percent ? value.trim().slice(0, -1) : value);
  if (read.is !== 'number' || !read.plain) notes.keep(path, value);
  if (read.is !== 'number') return undefined;
  const number = Number(read.text);
  if (number >= 0 && number <= 1 && !percent) return new Double(number);
  notes.keep(path, value);
  if (number < 0 || number > 100) {
    notes.warn('confidence_out_of_range');
    return undefined;
  }
  notes.warn('confidence_was_percent');
  return new Double(number / 100);
}

/** A number, also behind a currency sign. A range or a word is left out, the original kept. */
export function readPrice(value: unknown, path: string, notes: Notes): Double | undefined {
  if (value === undefined) return undefined;
  const read = readNumber(value);
  if (read.is !== 'number' || !read.plain) notes.keep(path, value);
  if (read.is === 'number') return new Double(Number(read.text));
  if (read.is !== 'missing') notes.warn('number_unreadable');
  return undefined;
}
