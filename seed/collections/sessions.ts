// sessions: the strategy document's sessions, together with those of the older web interface that have no user.
import { Double } from 'bson';
import { sessionCases } from '../cases/sessions.ts';
import type { Random } from '../random.ts';
import type { CollectionSeed, Document, Place } from '../shape.ts';
import { stocks, userAgents } from '../vocabulary.ts';

const DAY = 86_400_000;
const LIVE_SHARE = 0.35;
/** Live on any day this is likely to be run. */
const FAR = Date.UTC(2035, 0, 1);

export const sessions: CollectionSeed = {
  collection: 'sessions',
  mapping: 'sessions',
  batch: 500,
  cases: sessionCases,
  document: (place) => (place.plain || place.random.chance(0.9) ? owned(place) : anonymous(place)),
};

function owned({ id, index, moment: { time }, random, world }: Place): Document {
  const stock = random.pick(stocks);
  return {
    _id: id,
    session_id: `session_${Math.floor(time / 1000)}_${index}${random.integer(100_000, 999_999)}`,
    user_id: world.userHex(random),
    created_at: new Date(time),
    expires_at: expiry(random, time),
    last_activity: new Date(time + random.integer(1, 600) * 1000),
    ip_address: `10.0.${random.integer(0, 255)}.${random.integer(1, 254)}`,
    user_agent: random.pick(userAgents),
    data: {
      analysis_id: `analysis_${random.hex(8)}`,
      status: random.pick(['running', 'completed', 'failed']),
      stock_symbol: stock.symbol,
      market_type: stock.market,
      form_config: {
        stock_symbol: stock.symbol,
        market_type: stock.market,
        research_depth: random.integer(1, 5),
        selected_analysts: ['market', 'fundamentals'],
        include_sentiment: true,
        include_risk_assessment: true,
        custom_prompt: random.chance(0.2) ? '请关注 ESG 🌱' : '',
      },
    },
  };
}

/** From the older web interface: times are epoch seconds with a fraction, there is no user and no expiry. */
function anonymous({ id, index, moment: { time }, random }: Place): Document {
  const stock = random.pick(stocks);
  return {
    _id: id,
    session_id: `streamlit_session:timestamp_${random.hex(8)}${index.toString(16).padStart(8, '0')}`,
    analysis_id: `analysis_${random.hex(4)}`,
    status: 'completed',
    stock_symbol: stock.symbol,
    market_type: stock.market,
    timestamp: new Double(time / 1000),
    last_update: new Double(time / 1000 + 300.25),
    fingerprint: `fallback_${random.hex(8)}`,
  };
}

export function expiry(random: Random, time: number): Date {
  return random.chance(LIVE_SHARE) ? new Date(FAR + random.integer(0, 1000) * DAY) : new Date(time + DAY);
}
