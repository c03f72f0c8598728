// Dirt in token_usage's names, models, sessions and whatever else it carries (cases 20-27, 45, 46, 70).
import { Double, Int32 } from 'bson';
import type { Dirt, DirtyCase } from '../shape.ts';
import { localDigits } from '../time.ts';
import { change, column, loaded, quarantined, remove, rename, set } from './catalogue.ts';

const provider = (value: string, expected: string): Dirt => set('provider', value, column('provider', expected));

const camelCase = {
  modelName: 'model_name',
  inputTokens: 'input_tokens',
  outputTokens: 'output_tokens',
  sessionId: 'session_id',
  analysisType: 'analysis_type',
};

const metadata = (value: Record<string, unknown>, path: readonly string[], expected: unknown): Dirt =>
  set('metadata', value, { column: 'metadata', path, value: expected });

export const fieldCases: readonly DirtyCase[] = [
  quarantined(20, 'missing', 'provider_in_allowed_list', remove('provider')),
  quarantined(20, 'empty', 'provider_in_allowed_list', set('provider', '')),
  quarantined(20, 'unknown', 'provider_in_allowed_list', set('provider', 'acme-llm')),
  loaded(20, 'wrong case', provider('DashScope', 'dashscope')),
  loaded(20, 'alias qwen', provider('qwen', 'dashscope')),
  loaded(20, 'alias gemini', provider('gemini', 'google')),
  loaded(20, 'alias claude', provider('claude', 'anthropic')),
  loaded(20, 'alias glm', provider('glm', 'zhipu')),
  loaded(20, 'alias baidu', provider('baidu', 'qianfan')),
  loaded(21, 'provider test', (document) => {
    Object.assign(document, { provider: 'test', model_name: 'test1', analysis_type: 'debug_test' });
    return column('provider', 'test');
  }),
  loaded(21, 'debug_test with emoji', set('analysis_type', 'debug_test 🧪', column('analysis_type', 'debug_test 🧪'))),
  loaded(22, 'model', rename({ model: 'model_name' })),
  loaded(22, 'modelName', rename({ modelName: 'model_name' })),
  loaded(23, 'camelCase', rename(camelCase)),
  loaded(
    23,
    'twins that agree',
    change('inputTokens', (document) => document['input_tokens']),
  ),
  quarantined(23, 'twins that differ', 'aliases_agree', (document) => {
    document['inputTokens'] = Number(document['input_tokens']) + 1;
  }),
  quarantined(23, 'text twins that differ', 'aliases_agree', set('sessionId', 'someone-elses-session')),
  loaded(24, 'stock_code beside _created_at', set('stock_code', '600519')),
  loaded(24, 'unknown field', set('retry_policy', { attempts: 2, backoff: 'exponential' })),
  loaded(24, 'metadata', metadata({ retry: 1, note: '手工补录' }, ['note'], '手工补录')),
  loaded(25, 'exact duplicate', (document, place) => {
    const { _id, ...same } = place.neighbour() ?? document;
    for (const field of Object.keys(document)) if (field !== '_id') delete document[field];
    Object.assign(document, same);
  }),
  loaded(26, 'estimate of a web run', (document, { moment, random }) => {
    Object.assign(document, {
      input_tokens: new Int32(16_000),
      output_tokens: new Int32(8_000),
      session_id: `analysis_${random.hex(8)}_${localDigits(moment.time)}`,
      analysis_type: 'A股_analysis',
    });
    return column('input_tokens', '16000');
  }),
  loaded(26, 'estimate of a batch run', (document, { random }) => {
    Object.assign(document, { input_tokens: 2000, output_tokens: 1000, session_id: random.uuid() });
    return column('input_tokens', '2000');
  }),
  loaded(27, 'empty session', set('session_id', '', column('session_id', null))),
  loaded(27, 'session of 120 characters', set('session_id', 's'.repeat(120), column('session_id', 's'.repeat(120)))),
  loaded(27, 'unknown session', set('session_id', '未知会话')),
  loaded(45, 'NUL in text', set('model_name', 'qwen-plus\u0000-latest')),
  loaded(46, 'Infinity in metadata', metadata({ retry: 1, ratio: new Double(Infinity) }, ['ratio'], null)),
  loaded(46, 'NaN in metadata', metadata({ deep: { list: [new Double(NaN), 1] } }, ['deep', 'list', '0'], null)),
  loaded(
    70,
    'keys with dots and dollars',
    metadata({ 'gpt-4.1': 1, $note: 'dollar', 'Msg Clear Market': 2 }, ['gpt-4.1'], 1),
  ),
];
