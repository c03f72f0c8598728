// analysis_reports: the real analyses, written by the web service (A) and by the older web interface (B).
import { Double } from 'bson';
import { analysisReportCases } from '../cases/analysis.ts';
import type { Random } from '../random.ts';
import type { CollectionSeed, Document, Place } from '../shape.ts';
import { localDay, localDigits } from '../time.ts';
import { markdown, stocks } from '../vocabulary.ts';
import { reportBytes } from './analysis-results.ts';

const SERVICE_SHARE = 0.7;
const SECTIONS = [
  'market_report',
  'fundamentals_report',
  'news_report',
  'investment_plan',
  'bull_researcher',
  'bear_researcher',
  'risky_analyst',
  'safe_analyst',
  'final_trade_decision',
] as const;

export const analysisReports: CollectionSeed = {
  collection: 'analysis_reports',
  mapping: 'analysis_results',
  batch: 100,
  cases: analysisReportCases,
  document: (place) => (place.plain || place.random.chance(SERVICE_SHARE) ? byService(place) : byWeb(place)),
};

/** Dates are UTC; the report is a set of sections. */
function byService({ id, moment: { time }, random, plain }: Place): Document {
  const stock = random.pick(stocks);
  const confidence = random.integer(40, 95) / 100;
  const action = random.pick(['买入', '持有', '卖出']);
  const target = new Double(random.integer(1000, 200_000) / 100);
  const seconds = new Double(random.integer(60_000, 700_000) / 1000);
  return {
    _id: id,
    analysis_id: `${stock.symbol}_${localDigits(time - 8 * 3_600_000)}`,
    stock_symbol: stock.symbol,
    stock_name: stock.name,
    market_type: stock.market,
    model_info: random.pick(['ChatDashScopeOpenAI:qwen-max', 'ChatDeepSeek:deepseek-chat', 'Unknown']),
    analysis_date: localDay(time),
    timestamp: new Date(time),
    status: 'completed',
    source: 'api',
    summary: `最终投资决策：${action} …🚀`,
    analysts: ['market', 'fundamentals'],
    research_depth: random.pick(['快速', '基础', '标准', '深度', '全面']),
    reports: sections(random, plain),
    decision: {
      action,
      confidence: new Double(confidence),
      risk_score: new Double(random.integer(10, 90) / 100),
      target_price: random.chance(0.2) ? null : target,
      reasoning: '基本面稳健，估值合理 ✅',
    },
    created_at: new Date(time),
    updated_at: new Date(time),
    task_id: random.uuid(),
    recommendation: `投资建议：${action}。目标价格：${target.value}元。`,
    confidence_score: new Double(confidence),
    risk_level: '中等',
    key_points: [],
    execution_time: seconds,
    tokens_used: 0,
    performance_metrics: {
      total_time: seconds,
      node_count: 14,
      slowest_node: { name: 'Risk Judge', time: new Double(88.1) },
      fastest_node: null,
      node_timings: {
        'Market Analyst': new Double(31.2),
        tools_market: new Double(2.1),
        'Msg Clear Market': new Double(0.01),
      },
      llm_config: { provider: 'dashscope', deep_think_model: 'qwen-max', quick_think_model: 'qwen-turbo' },
    },
  };
}

/** Dates are naive local times read as UTC, eight hours ahead; depth is a number; one piece of markdown. */
function byWeb({ id, moment: { time }, random }: Place): Document {
  const stock = random.pick(stocks);
  const local = new Date(time + 8 * 3_600_000);
  return {
    _id: id,
    analysis_id: `${stock.symbol}_${localDigits(time)}`,
    stock_symbol: stock.symbol,
    ...(random.chance(0.5) && { market_type: stock.market }),
    analysis_date: localDay(time),
    timestamp: local,
    status: 'completed',
    source: 'mongodb',
    summary: '',
    analysts: ['market', 'news'],
    research_depth: random.integer(1, 5),
    reports: {
      markdown: markdown(`${stock.symbol} 分析报告`, reportBytes(random), (list) => random.pick(list)),
      generated_at: local.toISOString().slice(0, 19).replace('T', ' '),
    },
    created_at: local,
    updated_at: local,
  };
}

function sections(random: Random, plain: boolean): Record<string, string> {
  const bytes = plain ? 2000 : reportBytes(random);
  const reports: Record<string, string> = {};
  for (const section of SECTIONS) {
    reports[section] = markdown(section, bytes / SECTIONS.length - 300, (list) => random.pick(list));
  }
  return reports;
}
