// The dirt of analysis_results and analysis_reports (cases 44-58, 71 and what every collection has).
import { Double, Int32, ObjectId } from 'bson';
import type { Check, Dirt, DirtyCase, Document } from '../shape.ts';
import { localDay } from '../time.ts';
import { markdown } from '../vocabulary.ts';
import { change, loaded, marker, quarantined, remove, rename, sample, set } from './catalogue.ts';
import { analysisValueCases } from './analysis-values.ts';
import { FAKE_ADMIN } from './identities.ts';

/** The stock's field is `symbol` in one collection and `stock_symbol` in the other. */
const symbolField = (document: Document): string => ('stock_symbol' in document ? 'stock_symbol' : 'symbol');

const symbol =
  (value: unknown, expected?: string): Dirt =>
  (document) => {
    document[symbolField(document)] = value;
    // A bare number says nothing of its market; the document does.
    if (typeof value !== 'string') document['market_type'] = 'A股';
    return expected === undefined ? undefined : ({ field: 'symbol', value: expected } satisfies Check);
  };

const symbolUnder =
  (name: string): Dirt =>
  (document) => {
    const field = symbolField(document);
    document[name] = document[field];
    delete document[field];
    return String(document[name]).endsWith('.HK') ? undefined : { field: 'symbol', value: document[name] };
  };

const createdAt = (value: unknown, expected?: string): Dirt =>
  set('created_at', value, expected === undefined ? undefined : { field: 'created_at', value: expected });

/** Documents of this form also hold the analysis under an id with the symbol in it, which must not give the symbol away. */
const withoutSymbol: Dirt = (document) => {
  delete document[symbolField(document)];
  delete document['state'];
  delete document['analysis_id'];
};

const shared: readonly DirtyCase[] = [
  ...analysisValueCases,
  loaded(4, 'created_at epoch seconds', createdAt(new Int32(1_754_100_000), '2025-08-02T02:00:00.000000Z')),
  loaded(4, 'created_at text', createdAt('2025-08-02 09:00:00')),
  quarantined(5, 'created_at garbage', 'created_at_valid', createdAt('昨天')),
  loaded(44, 'one field of 80 KB', (document, { random }) => {
    document['full_report'] = markdown('完整报告', 80_000, (list) => random.pick(list));
  }),
  loaded(45, 'NUL in text', set('summary', '含空字节\u0000的文本')),
  loaded(46, 'NaN and Infinity nested', (document) => {
    document['indicators'] = {
      rsi: new Double(NaN),
      macd: { dif: new Double(-Infinity), dea: new Double(0.12) },
      ma: [[new Double(1), new Double(Infinity)], null],
    };
  }),
  loaded(51, 'stock_code', symbolUnder('stock_code')),
  loaded(51, 'code', symbolUnder('code')),
  loaded(51, 'ticker', symbolUnder('ticker')),
  loaded(51, 'code that differs', set('stock_code', '300750')),
  loaded(52, 'number', symbol(new Int32(1), '000001')),
  loaded(52, 'prefixed', symbol('sz000001', '000001')),
  loaded(52, 'suffixed', symbol('600519.SH', '600519')),
  loaded(52, 'Hong Kong, five digits', symbol('00700')),
  loaded(52, 'Hong Kong, suffixed', symbol('0700.HK')),
  quarantined(52, 'a name instead', 'symbol_known', symbol('贵州茅台')),
  quarantined(52, 'punctuation', 'symbol_known', symbol('???')),
  quarantined(51, 'missing everywhere', 'symbol_known', withoutSymbol),
  loaded(53, 'UNKNOWN', symbol('UNKNOWN')),
  loaded(54, 'null', set('reports', null)),
  loaded(54, 'empty', set('reports', {})),
  loaded(54, 'text', set('reports', '# 报告\n\n持有')),
  loaded(54, 'list', set('reports', [{ name: 'market_report', content: '# 报告' }])),
  loaded(55, 'running', set('status', 'running', { field: 'status', value: 'processing' })),
  loaded(55, 'stuck in processing', set('status', 'processing', { field: 'status', value: 'processing' })),
  loaded(58, 'completed_at text, progress float, step number', (document, { moment }) => {
    Object.assign(document, {
      completed_at: `${localDay(moment.time)}T10:00:00.123456`,
      progress: new Double(99.5),
      current_step: new Int32(4),
    });
  }),
  loaded(70, 'keys with dots and dollars', set('metadata', { 'gpt-4.1': 1, $note: 'dollar key', 'Msg Clear 🧹': 2 })),
  loaded(71, 'state of messages', (document, { random }) => {
    document['graph'] = {
      messages: [{ additional_kwargs: { calls: [[{ args: { deep: [[random.integer(1, 9)]] } }]] } }],
    };
  }),
];

export const analysisResultCases: readonly DirtyCase[] = [
  ...shared,
  loaded(
    23,
    'camelCase',
    rename({ stockSymbol: 'symbol', analysisType: 'analysis_type', userId: 'user_id', createdAt: 'created_at' }),
  ),
  quarantined(23, 'twins that differ', 'aliases_agree', set('userId', 'someone-else')),
  loaded(29, 'admin', set('user_id', 'admin')),
  loaded(29, 'fake administrator', set('user_id', new ObjectId(FAKE_ADMIN))),
  loaded(
    30,
    'deleted user',
    change('user_id', (_, { random }) => new ObjectId(`dead${random.hex(20)}`)),
  ),
  marker('Stock analysis results'),
  sample('scan_id', 'sample_scan_structure', { user_id: null, results: {} }),
];

export const analysisReportCases: readonly DirtyCase[] = [
  ...shared,
  loaded(53, 'analysis_id of another', (document, place) => {
    document['analysis_id'] = place.anchor()['analysis_id'];
  }),
  loaded(53, 'UNKNOWN with id', (document) => {
    Object.assign(document, { stock_symbol: 'UNKNOWN', analysis_id: 'UNKNOWN_20251001_000000' });
  }),
  loaded(56, 'local times, source mongodb', (document, { moment }) => {
    const local = new Date(moment.time + 8 * 3_600_000);
    Object.assign(document, { source: 'mongodb', timestamp: local, created_at: local, updated_at: local });
    delete document['task_id'];
    return { field: 'created_at', value: `${new Date(moment.time).toISOString().slice(0, -1)}000Z` };
  }),
  loaded(4, 'timestamp epoch seconds', (document) => {
    document['timestamp'] = new Double(1_759_248_000.5);
  }),
  loaded(54, 'decision absent', remove('decision')),
  marker('Analysis reports'),
];
