// Documents that the corruptions are done to: clean, of every collection, and unknown to the legacy writer, which leaves them alone.
import { Double, Int32, ObjectId, type Document } from 'mongodb';

export interface Victim {
  readonly source: string;
  /** As the ledger knows it. */
  readonly id: string;
  readonly document: Document;
}

const hour = 3_600_000;
const day = 24 * hour;
const now = Date.UTC(2026, 0, 15, 3, 20, 11);

/** `n` documents of a collection, the ids spread over four years so that they lie among the others. */
export const many = (source: string, n: number): Victim[] =>
  Array.from({ length: n }, (_, i) => {
    const _id = ObjectId.createFromTime(Math.floor((now - i * 9 * day) / 1000));
    const own = new ObjectId(_id.toHexString().slice(0, 8) + new ObjectId().toHexString().slice(8));
    return { source, id: own.toHexString(), document: { _id: own, ...shapes[source]!(i, own) } };
  });

const shapes: Record<string, (i: number, id: ObjectId) => Document> = {
  token_usage: (i, id) => ({
    timestamp: new Date(id.getTimestamp().getTime() + 17),
    provider: 'deepseek',
    model_name: `victim-${i} `,
    input_tokens: new Int32(1000 + i),
    output_tokens: new Int32(500 + i),
    cost: new Double(1.25 + i / 1000),
    currency: 'CNY',
    session_id: `victim-${i}`,
    user_id: 'admin',
    analysis_type: 'é analysis',
    metadata: { n: new Int32(1), deep: { list: [new Int32(1), 'two', { three: 'x' }] }, text: '1' },
  }),
  stock_daily_quotes: (i) => ({
    symbol: '600519',
    code: '600519',
    market: 'CN',
    trade_date: new Date(now - i * day).toISOString().slice(0, 10),
    period: 'daily',
    data_source: `victim-${i}`,
    open: new Double(1500.5),
    high: new Double(1510.25),
    low: new Double(1490),
    close: new Double(1505.125),
    volume: new Double(123456),
    amount: new Double(9876543.21),
    pct_chg: new Double(0.1),
    pe: new Double(NaN),
  }),
  users: (i, id) => ({
    username: `victim_${i}_${id.toHexString().slice(-6)}`,
    email: `victim_${i}_${id.toHexString().slice(-6)}@example.com`,
    hashed_password: 'a'.repeat(64),
    is_active: true,
    is_verified: true,
    created_at: new Date(now - day),
    updated_at: new Date(now),
    preferences: { default_market: 'A股', rev: new Int32(i), ui: { theme: 'dark' } },
    favorite_stocks: [{ stock_code: '600519', tags: ['a', 'b'] }],
    daily_quota: new Int32(1000),
  }),
  sessions: (i, id) => ({
    session_id: `victim-${i}-${id.toHexString()}`,
    user_id: 'admin',
    status: 'running',
    created_at: new Date(now - day),
    expires_at: new Date(Date.UTC(2036, 0, 1) + i * hour),
    last_activity: new Date(now),
    data: { step: new Int32(i), list: ['a', 'b'], note: ` padded ${i} ` },
  }),
  analysis_results: (i, id) => ({
    symbol: '600519',
    analysis_id: `victim-${id.toHexString()}`,
    analysis_type: 'deep',
    created_at: new Date(now - i * hour),
    status: 'completed',
    research_depth: new Int32(3),
    confidence_score: new Double(0.5),
    decision: { action: '买入', confidence: new Double(0.75), risk_score: new Double(0.25), reasoning: 'because' },
    reports: { market_report: `market ${i}`, news_report: `news ${i}` },
    extra: { nested: { value: new Int32(7), list: [new Int32(1), new Int32(2)] } },
  }),
  metadata: (i, id) => ({
    key: `victim.${i}_${id.toHexString().slice(-6)}`,
    category: i < 4 ? 'victim' : `victim_${i}`,
    value: { limit: new Int32(10 + i), on: true },
    description: 'a setting',
    created_at: new Date(now),
    updated_at: new Date(now),
  }),
};

/** A document that its mapping sets aside, and one that had its end long ago. */
export const refused = (v: Victim): Victim => ({ ...v, document: { ...v.document, cost: new Double(-1) } });
export const expired = (v: Victim): Victim => ({
  ...v,
  document: { ...v.document, expires_at: new Date(now - 30 * day) },
});
