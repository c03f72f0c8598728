// Dirt in what the models decided: confidence, action, target price, depth (cases 46-50).
import { Double, Int32 } from 'bson';
import type { Check, Dirt, DirtyCase } from '../shape.ts';
import { loaded, quarantined, set } from './catalogue.ts';

/** Changes one value in `decision`; writers also keep the confidence beside it. */
const decided =
  (field: string, value: unknown, expected?: unknown): Dirt =>
  (document) => {
    document['decision'] = { ...(document['decision'] as Record<string, unknown>), [field]: value };
    if (field === 'confidence' && 'confidence_score' in document) document['confidence_score'] = value;
    return expected === undefined ? undefined : ({ field, value: expected } satisfies Check);
  };

export const analysisValueCases: readonly DirtyCase[] = [
  loaded(46, 'risk_score NaN', decided('risk_score', new Double(NaN), null)),
  loaded(46, 'target_price Infinity', decided('target_price', new Double(Infinity), null)),
  loaded(47, '85', decided('confidence', new Double(85), 0.85)),
  loaded(47, '85%', decided('confidence', '85%', 0.85)),
  loaded(47, '0.85 as text', decided('confidence', '0.85', 0.85)),
  loaded(48, 'BUY', decided('action', 'BUY', 'buy')),
  loaded(48, 'hold', decided('action', 'hold', 'hold')),
  loaded(48, '强烈买入', decided('action', '强烈买入', 'strong_buy')),
  loaded(48, '强烈卖出', decided('action', '强烈卖出', 'strong_sell')),
  loaded(48, '买入/持有', decided('action', '买入/持有')),
  quarantined(48, 'unknown', 'action_known', decided('action', '先观望，再说吧')),
  loaded(49, 'with sign', decided('target_price', '¥15.30', 15.3)),
  loaded(49, 'a range', decided('target_price', '15-18', null)),
  loaded(49, 'N/A', decided('target_price', 'N/A', null)),
  loaded(50, 'number', set('research_depth', new Int32(3), { field: 'research_depth', value: 3 })),
  loaded(50, 'digit as text', set('research_depth', '2', { field: 'research_depth', value: 2 })),
  loaded(50, 'word', set('research_depth', '深度', { field: 'research_depth', value: 4 })),
];
