// analysis_results: the collection of the strategy document, holding whole states of the agents' graph and short results.
import { Double } from 'bson';
import { analysisResultCases } from '../cases/analysis.ts';
import type { Random } from '../random.ts';
import type { CollectionSeed, Document, Place } from '../shape.ts';
import { localDay, localDigits } from '../time.ts';
import { markdown, stocks } from '../vocabulary.ts';

export const analysisResults: CollectionSeed = {
  collection: 'analysis_results',
  mapping: 'analysis_results',
  batch: 100,
  cases: analysisResultCases,
  document: (place) => (place.plain || place.random.chance(0.75) ? withState(place) : short(place)),
};

/** 2 to 10 KB, and one in 200 around 80 KB. */
export function reportBytes(random: Random): number {
  return random.chance(0.005) ? random.integer(70_000, 90_000) : random.integer(1500, 9000);
}

function withState({ id, moment: { time }, random, world, plain }: Place): Document {
  const stock = random.pick(stocks);
  const bytes = plain ? 2000 : reportBytes(random);
  const text = (title: string) => markdown(`${stock.symbol} ${title}`, bytes / 2, (list) => random.pick(list));
  return {
    _id: id,
    symbol: stock.symbol,
    analysis_type: random.pick(['comprehensive', 'quick', 'A股_analysis']),
    user_id: world.userHex(random),
    session_id: `analysis_${random.hex(8)}_${localDigits(time)}`,
    created_at: new Date(time),
    market_type: stock.market,
    llm_provider: 'dashscope',
    llm_model: 'qwen-plus',
    state: {
      company_of_interest: stock.symbol,
      trade_date: localDay(time),
      sender: 'Trader',
      market_report: text('技术分析报告'),
      sentiment_report: '',
      news_report: '…',
      fundamentals_report: text('基本面分析报告'),
      market_tool_call_count: 2,
      investment_debate_state: { bull_history: '看多…', bear_history: '看空…', judge_decision: '持有', count: 2 },
      trader_investment_plan: '…',
      risk_debate_state: { history: '…', latest_speaker: 'Safe', judge_decision: '…', count: 3 },
      final_trade_decision: 'HOLD',
    },
    decision: decision(random),
    success: true,
    error: null,
  };
}

function short({ id, moment: { time }, random, world }: Place): Document {
  const stock = random.pick(stocks);
  return {
    _id: id,
    symbol: stock.symbol,
    analysis_type: 'deep',
    user_id: world.userHex(random),
    created_at: new Date(time),
    recommendations: [{ action: random.pick(['buy', 'hold', 'sell']), weight: new Double(0.4) }],
    sector: random.pick(['银行', '白酒', '互联网']),
    market_scan_id: null,
    report: markdown(`${stock.name} 🚀`, reportBytes(random), (list) => random.pick(list)),
  };
}

function decision(random: Random): Record<string, unknown> {
  return {
    action: random.pick(['买入', '持有', '卖出']),
    confidence: new Double(random.integer(40, 95) / 100),
    risk_score: new Double(random.integer(10, 90) / 100),
    target_price: random.chance(0.3) ? null : new Double(random.integer(1000, 200_000) / 100),
    reasoning: '估值合理 ✅',
  };
}
