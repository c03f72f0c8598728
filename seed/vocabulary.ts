// Words of the application: models with prices, stocks, names, and text with CJK and emoji in it.

export interface Model {
  readonly provider: string;
  readonly name: string;
  /** Per 1,000 tokens. */
  readonly input: number;
  readonly output: number;
  readonly currency: string;
}

const model = (provider: string, name: string, input: number, output: number, currency: string): Model => ({
  provider,
  name,
  input,
  output,
  currency,
});

export const models: readonly Model[] = [
  model('dashscope', 'qwen-turbo', 0.002, 0.006, 'CNY'),
  model('dashscope', 'qwen-plus-latest', 0.004, 0.012, 'CNY'),
  model('dashscope', 'qwen-max', 0.02, 0.06, 'CNY'),
  model('dashscope', 'qwen3-max', 0.0032, 0.0128, 'CNY'),
  model('deepseek', 'deepseek-chat', 0.0014, 0.0028, 'CNY'),
  model('deepseek', 'deepseek-coder', 9.999999999999999e-5, 1e-6, 'CNY'),
  model('google', 'gemini-2.5-flash', 0.00025, 0.0005, 'USD'),
  model('google', 'gemini-2.5-pro', 0.00025, 0.0005, 'CNY'),
  model('openai', 'gpt-4o-mini', 0, 0, 'USD'),
  model('openai', 'gpt-4', 0.03, 0.06, 'USD'),
  model('openrouter', 'anthropic/claude-sonnet-4.5', 0.003, 0.015, 'USD'),
  model('siliconflow', 'Pro/deepseek-ai/DeepSeek-V3.2-Exp', 0.002, 0.003, 'CNY'),
  model('zhipu', 'glm-4', 0.1, 0.1, 'CNY'),
  model('qianfan', 'ernie-3.5-8k', 0, 0, 'CNY'),
];

export const analysisTypes = [
  'stock_analysis',
  'stock_analysis',
  'stock_analysis',
  'A股_analysis',
  '港股_analysis',
  '美股_analysis',
] as const;

export interface Stock {
  readonly symbol: string;
  readonly name: string;
  readonly market: 'A股' | '港股' | '美股';
}

export const stocks: readonly Stock[] = [
  { symbol: '600519', name: '贵州茅台', market: 'A股' },
  { symbol: '000001', name: '平安银行', market: 'A股' },
  { symbol: '000858', name: '五粮液', market: 'A股' },
  { symbol: '300750', name: '宁德时代', market: 'A股' },
  { symbol: '601318', name: '中国平安', market: 'A股' },
  { symbol: '0700.HK', name: '腾讯控股', market: '港股' },
  { symbol: '9988.HK', name: '阿里巴巴-W', market: '港股' },
  { symbol: 'AAPL', name: 'Apple Inc.', market: '美股' },
  { symbol: 'NVDA', name: 'NVIDIA Corporation', market: '美股' },
];

export const chineseStocks = stocks.filter((stock) => stock.market === 'A股');

export const givenNames = [
  'li_lei',
  'han.meimei',
  'wang',
  'trader',
  'zhao',
  '小王',
  '股海老陈',
  'alice',
  'bob',
  'Zoë',
  '量化小白',
] as const;
export const fullNames = [
  '李雷',
  '韩梅梅 🌸',
  '王小明',
  'Zoë Müller',
  'Alice Zhang',
  '陈老师 📈',
  "Seán O'Brien",
] as const;
export const userAgents = [
  'Mozilla/5.0 (Windows NT 10.0; Win64; x64)',
  'Mozilla/5.0 (Macintosh)',
  'python-requests/2.32',
  null,
] as const;

const sentences = [
  '量价配合良好，关注 20 日均线。',
  '**多头排列**，MACD 为正；支撑位 1680 元。',
  '北向资金连续三日净流入 📈，市场情绪偏暖。',
  '估值处于近五年 35% 分位，安全边际尚可 ✅。',
  'Revenue grew 12.4% year over year; margins were stable.',
  '风险提示：原材料价格波动、汇率变化 ⚠️。',
  '短线 RSI 超买，若跌破 5 日线则减仓。',
  '管理层指引谨慎，但现金流充沛 💰。',
];

/** Blocks of about 250 characters, made once: long reports are put together from them. */
const paragraphs = Array.from({ length: 64 }, (_, i) =>
  Array.from({ length: 12 }, (_, j) => sentences[(i * 7 + j * (1 + (i % 5))) % sentences.length]!).join(''),
);

/** Markdown of about `bytes` bytes of UTF-8. */
export function markdown(title: string, bytes: number, pick: (list: readonly string[]) => string): string {
  const parts = [`# ${title}`, '## 📊 趋势'];
  for (let size = 0; size < bytes; size += 600) parts.push(pick(paragraphs));
  return parts.join('\n\n');
}
