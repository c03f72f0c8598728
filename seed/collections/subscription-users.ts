// subscription_users: the subscribers of the strategy document. No passwords.
import { Double } from 'bson';
import { subscriptionUserCases } from '../cases/users.ts';
import type { CollectionSeed } from '../shape.ts';
import { fullNames, givenNames, stocks } from '../vocabulary.ts';

export const subscriptionUsers: CollectionSeed = {
  collection: 'subscription_users',
  mapping: 'subscription_users',
  batch: 500,
  cases: subscriptionUserCases,
  document({ id, index, moment, random, plain }) {
    const symbols = stocks.filter(() => random.chance(0.4)).map((stock) => stock.symbol);
    return {
      _id: !plain && random.chance(0.05) ? id.toHexString() : id,
      username: `${random.pick(givenNames)}_s${index}`,
      email: `subscriber${index}@example.com`,
      full_name: random.pick(fullNames),
      created_at: new Date(moment.time),
      is_active: plain || random.chance(0.9),
      preferences: { include_charts: true, include_news: random.chance(0.5), language: 'zh-CN', ui: { theme: 'dark' } },
      watchlist: symbols,
      alert_settings: {
        price: symbols.slice(0, 1).map((symbol) => ({ symbol, above: new Double(random.integer(10, 1800)) })),
        channels: { email: true, sms: false },
      },
    };
  },
};
