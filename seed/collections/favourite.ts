// A stock in a user's list of favourites.
import { Double } from 'bson';
import type { Random } from '../random.ts';
import { chineseStocks } from '../vocabulary.ts';

const DAY = 86_400_000;

export function favourite(random: Random, time: number): Record<string, unknown> {
  const stock = random.pick(chineseStocks);
  return {
    stock_code: stock.symbol,
    stock_name: stock.name,
    market: 'A股',
    added_at: new Date(time + DAY),
    tags: ['白酒'],
    notes: '长期持有 🚀',
    alert_price_high: new Double(random.integer(100, 1800)),
    alert_price_low: null,
  };
}
