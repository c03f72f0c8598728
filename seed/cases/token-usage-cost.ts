// Dirt in token_usage's cost, currency and token counts (cases 8-19).
import { Decimal128, Double, Int32, Long } from 'bson';
import type { Dirt, DirtyCase } from '../shape.ts';
import { column, loaded, quarantined, remove, set } from './catalogue.ts';

const cost = (value: unknown, expected: string, tolerance?: string): Dirt =>
  set('cost', value, column('cost', expected, tolerance));

/** The provider is a domestic one, so every reading of "no currency" is CNY. */
const currency =
  (apply: Dirt, expected?: string): Dirt =>
  (document, place) => {
    document['provider'] = 'dashscope';
    document['model_name'] = 'qwen-plus-latest';
    apply(document, place);
    return expected === undefined ? undefined : column('currency', expected);
  };

const input = (value: unknown, expected?: string): Dirt =>
  set('input_tokens', value, expected === undefined ? undefined : column('input_tokens', expected));
const output = (value: unknown, expected?: string): Dirt =>
  set('output_tokens', value, expected === undefined ? undefined : column('output_tokens', expected));

export const costCases: readonly DirtyCase[] = [
  loaded(8, 'currency missing', currency(remove('currency'), 'CNY')),
  loaded(8, 'currency null', currency(set('currency', null), 'CNY')),
  loaded(9, 'lower case', currency(set('currency', 'cny'), 'CNY')),
  loaded(9, 'RMB', currency(set('currency', 'RMB'), 'CNY')),
  loaded(9, 'sign', currency(set('currency', '¥'), 'CNY')),
  loaded(9, 'Chinese', currency(set('currency', '人民币'), 'CNY')),
  loaded(9, 'lower case usd', set('currency', 'usd', column('currency', 'USD'))),
  quarantined(9, 'unknown', 'currency_known', set('currency', '积分')),
  loaded(10, 'text', cost('0.0123', '0.0123')),
  loaded(10, 'text with sign', cost('¥0.0007', '0.0007')),
  loaded(10, 'text with spaces', cost(' 0.25 ', '0.25')),
  quarantined(10, 'not a number', 'cost_is_number', set('cost', '免费')),
  quarantined(11, 'NaN', 'cost_is_number', set('cost', new Double(NaN))),
  quarantined(11, 'NaN as text', 'cost_is_number', set('cost', 'NaN')),
  quarantined(12, 'Infinity', 'cost_finite', set('cost', new Double(Infinity))),
  quarantined(12, '-Infinity', 'cost_finite', set('cost', new Double(-Infinity))),
  quarantined(13, 'negative', 'cost_non_negative', set('cost', new Double(-0.0031))),
  quarantined(13, 'negative text', 'cost_non_negative', set('cost', '-1.5')),
  loaded(13, 'minus zero', cost(new Double(-0), '0')),
  loaded(14, 'above 9999.999999', cost(new Double(12_345.678901), '12345.678901')),
  loaded(14, 'above a million', cost(new Double(1_234_567.891), '1234567.891')),
  loaded(15, '1e-7', cost(new Double(1e-7), '0.0000001')),
  loaded(15, '1e-9', cost(new Double(1e-9), '0.000000001')),
  loaded(16, 'noise of binary floats', cost(new Double(0.0012000000000000001), '0.0012', '0.000000001')),
  loaded(17, 'int32', cost(new Int32(1), '1')),
  loaded(17, 'int64', cost(Long.fromNumber(2), '2')),
  loaded(17, 'Decimal128', cost(Decimal128.fromString('0.015642'), '0.015642')),
  loaded(17, 'Extended JSON left as a document', cost({ $numberDecimal: '0.05' }, '0.05')),
  loaded(18, 'integral double', input(new Double(1234), '1234')),
  loaded(18, 'digits as text', output('567', '567')),
  quarantined(18, 'fractional', 'tokens_integral', input(new Double(12.5))),
  quarantined(18, 'not a number', 'tokens_integral', output('许多')),
  quarantined(18, 'NaN', 'tokens_integral', input(new Double(NaN))),
  loaded(19, 'null', output(null, '0')),
  quarantined(19, 'negative', 'tokens_non_negative', input(new Int32(-5))),
  loaded(19, 'above 2^31', input(Long.fromString('3000000000'), '3000000000')),
];
