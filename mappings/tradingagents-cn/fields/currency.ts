// Currencies: ISO codes and what users typed instead.

const codes: Record<string, string> = {
  CNY: 'CNY',
  RMB: 'CNY',
  CNH: 'CNY',
  '¥': 'CNY',
  '￥': 'CNY',
  人民币: 'CNY',
  元: 'CNY',
  USD: 'USD',
  $: 'USD',
  US$: 'USD',
  美元: 'USD',
  美金: 'USD',
  EUR: 'EUR',
  '€': 'EUR',
  欧元: 'EUR',
  HKD: 'HKD',
  HK$: 'HKD',
  港币: 'HKD',
  港元: 'HKD',
  JPY: 'JPY',
  日元: 'JPY',
  GBP: 'GBP',
  '£': 'GBP',
  英镑: 'GBP',
};

/** The ISO code, or undefined when the text names no currency we know. */
export const currencyCode = (text: string): string | undefined =>
  Object.hasOwn(codes, text) ? codes[text] : codeOf(text.trim().toUpperCase());
const codeOf = (text: string): string | undefined => (Object.hasOwn(codes, text) ? codes[text] : undefined);
