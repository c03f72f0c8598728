// Stock symbols as they are met: numbers, prefixes, suffixes, five-digit Hong Kong codes -> one symbol and its market.
import { Double, Int32 } from 'bson';
import { textsLike } from '../../back/values.ts';

export interface Symbol {
  readonly symbol: string;
  readonly market: 'CN' | 'HK' | 'US';
}

/** The symbol in the form of the one before; with its suffix, where the stated market would make another of the bare digits. */
export const symbolLike = (symbol: unknown, old: unknown): unknown[] => [
  ...textsLike(String(symbol), old),
  ...(/^\d{5}$/.test(String(symbol)) ? [`${String(symbol)}.HK`] : []),
];

const markets: Record<string, Symbol['market']> = {
  CN: 'CN',
  A股: 'CN',
  SH: 'CN',
  SZ: 'CN',
  BJ: 'CN',
  HK: 'HK',
  港股: 'HK',
  US: 'US',
  美股: 'US',
};

/** A market in the language that the one before was in; as the application's documents say it where none was. */
export function marketLike(market: unknown, old: unknown): unknown[] {
  const named = { CN: 'A股', HK: '港股', US: '美股' }[String(market)];
  return typeof old === 'string' && /^[\x20-\x7e]+$/.test(old) ? [market] : [named, market];
}

/** `A股`, `HK` ... as CN, HK or US. */
export const marketOf = (value: unknown): Symbol['market'] | undefined =>
  typeof value === 'string' && Object.hasOwn(markets, value.trim().toUpperCase())
    ? markets[value.trim().toUpperCase()]
    : undefined;

/** undefined when the value is no symbol. `hint`: the market the document states, which decides between a mainland and a Hong Kong number. */
export function readSymbol(value: unknown, hint?: Symbol['market']): Symbol | undefined {
  const text = asText(value);
  if (text === undefined) return undefined;
  const mainland = /^(?:SH|SZ|BJ)?\.?(\d{6})(?:\.(?:SH|SZ|BJ|SS|XSHG|XSHE))?$/.exec(text);
  if (mainland) return { symbol: mainland[1]!, market: 'CN' };
  const hongKong = /^(?:HK)?\.?(\d{1,5})(\.HK)?$/.exec(text);
  if (hongKong) {
    const [, digits, suffix] = hongKong;
    if (suffix !== undefined || hint === 'HK' || (digits!.length === 5 && hint !== 'CN'))
      return { symbol: digits!.padStart(5, '0'), market: 'HK' };
    return { symbol: digits!.padStart(6, '0'), market: 'CN' };
  }
  return /^[A-Z][A-Z0-9]{0,9}([.-][A-Z]{1,3})?$/.test(text)
    ? { symbol: text.replace(/\.US$/, ''), market: 'US' }
    : undefined;
}

function asText(value: unknown): string | undefined {
  if (typeof value === 'string') return value.trim().toUpperCase();
  if (value instanceof Int32 || value instanceof Double)
    return Number.isInteger(value.value) && value.value >= 0 ? String(value.value) : undefined;
  return undefined;
}
