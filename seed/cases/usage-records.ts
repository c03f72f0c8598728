// The dirt of usage_records: a selection, since its mapping is token_usage's.
import { Double } from 'bson';
import type { DirtyCase } from '../shape.ts';
import { instant } from '../time.ts';
import { column, loaded, marker, quarantined, remove, set } from './catalogue.ts';

export const usageRecordCases: readonly DirtyCase[] = [
  loaded(4, 'space instead of T', (document, { moment }) => {
    document['timestamp'] = String(document['timestamp']).replace('T', ' ').slice(0, 19);
    return column('timestamp', instant({ time: moment.time - (moment.time % 1000), micros: 0 }));
  }),
  quarantined(5, 'missing', 'timestamp_not_null', remove('timestamp')),
  loaded(10, 'cost as text', set('cost', '0.0123', column('cost', '0.0123'))),
  quarantined(11, 'NaN', 'cost_is_number', set('cost', new Double(NaN))),
  quarantined(13, 'negative', 'cost_non_negative', set('cost', new Double(-0.5))),
  loaded(20, 'wrong case', set('provider', 'DashScope', column('provider', 'dashscope'))),
  loaded(25, 'exact duplicate', (document, place) => {
    const { _id, ...same } = place.neighbour() ?? document;
    Object.assign(document, same);
  }),
  marker('Usage records'),
];
