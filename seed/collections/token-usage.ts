// token_usage: one document per call of a language model, as its writers of the last years left them.
import { Double } from 'bson';
import { tokenUsageCases } from '../cases/token-usage.ts';
import type { Random } from '../random.ts';
import type { CollectionSeed, Document, Place } from '../shape.ts';
import { localDigits, naiveLocal, wholeSeconds, withZone, type Moment } from '../time.ts';
import { analysisTypes, models, type Model } from '../vocabulary.ts';

const LIBRARY_SHARE = 0.6;
const SERVICE_SHARE = 0.25;
const tracked = models.filter((model) => ['dashscope', 'deepseek', 'google'].includes(model.provider));

interface Call {
  readonly model: Model;
  readonly input: number;
  readonly output: number;
}

export const tokenUsage: CollectionSeed = {
  collection: 'token_usage',
  mapping: 'token_usage',
  batch: 2000,
  cases: tokenUsageCases,
  document(place) {
    const writer = place.plain ? 0 : place.random.fraction();
    if (writer < LIBRARY_SHARE) return byLibrary(place);
    return writer < LIBRARY_SHARE + SERVICE_SHARE ? byService(place) : byOldLibrary(place);
  },
};

/** The adapters of today: zoned timestamp, rounded cost, `_created_at` in real UTC. */
function byLibrary({ id, random, moment: at }: Place): Document {
  const { model, input, output } = call(random, tracked);
  const moment = withoutFractionAtTimes(random, at);
  return {
    _id: id,
    timestamp: withZone(moment),
    provider: model.provider,
    model_name: model.name,
    input_tokens: input,
    output_tokens: output,
    cost: new Double(rounded(price(model, input, output))),
    currency: model.currency,
    session_id: adapterSession(random, model, moment),
    analysis_type: random.pick(analysisTypes),
    _created_at: new Date(moment.time + 1),
  };
}

/** The web service: naive local timestamp, unrounded cost, `stock_code`, fixed estimates for batch runs. */
export function byService({ id, random, moment: at }: Place): Document {
  const estimated = random.chance(0.3);
  const { model, input, output } = estimated
    ? { model: random.pick(models), input: 2000, output: 1000 }
    : call(random, models);
  return {
    _id: id,
    timestamp: naiveLocal(withoutFractionAtTimes(random, at)),
    provider: model.provider,
    model_name: model.name,
    input_tokens: input,
    output_tokens: output,
    cost: new Double(price(model, input, output)),
    currency: model.currency,
    session_id: random.uuid(),
    analysis_type: 'stock_analysis',
    stock_code: random.chance(0.9) ? random.pick(['600519', '000001', '0700.HK', 'AAPL']) : null,
  };
}

/** The adapters up to v0.1.15: naive local timestamp, no currency, `_created_at` eight hours ahead. */
function byOldLibrary({ id, random, moment }: Place): Document {
  const { model, input, output } = call(random, tracked);
  return {
    _id: id,
    timestamp: naiveLocal(moment),
    provider: model.provider,
    model_name: model.name,
    input_tokens: input,
    output_tokens: output,
    cost: new Double(rounded(price(model, input, output))),
    session_id: random.chance(0.05) ? '' : `analysis_${random.hex(8)}_${localDigits(moment.time)}`,
    analysis_type: random.pick(analysisTypes),
    _created_at: new Date(moment.time + 8 * 3_600_000 + 1),
  };
}

function call(random: Random, among: readonly Model[]): Call {
  return { model: random.pick(among), input: random.integer(300, 20_000), output: random.integer(50, 4_000) };
}

function price(model: Model, input: number, output: number): number {
  return (input / 1000) * model.input + (output / 1000) * model.output;
}

function rounded(cost: number): number {
  return Math.round(cost * 1e6) / 1e6;
}

function adapterSession(random: Random, model: Model, { time }: Moment): string {
  if (random.chance(0.1)) return `session_${localDigits(time)}`;
  return `${model.provider === 'deepseek' ? 'deepseek' : `${model.provider}_openai`}_${random.integer(0, 9999)}`;
}

/** Python leaves the fraction away when it is zero; rare in life, less so here. */
function withoutFractionAtTimes(random: Random, moment: Moment): Moment {
  return random.chance(0.001) ? wholeSeconds(moment) : moment;
}
