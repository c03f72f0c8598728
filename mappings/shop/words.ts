// What the shop's mappings share: money, times of its zone, countries' taxes as settings.
import type { Settings } from '../language/codec.ts';
import { decimal, instant } from '../language/words.ts';

const zone = (settings: Settings): string => String(settings['zone'] ?? 'Europe/Berlin');

export const money = (rule = 'amount_valid') => decimal(14, 2).required(rule);
/** Wall-clock times are those of the shop; one that its clocks skip is no time. */
export const moment = () => instant({ zone, gap: 'quarantine' });
export const currencyOf = (settings: Settings): string => String(settings['currency'] ?? 'EUR');
export const cents = (amount: string): bigint => {
  const [whole, fraction = ''] = amount.split('.');
  return BigInt(whole! + fraction.padEnd(2, '0').slice(0, 2));
};
