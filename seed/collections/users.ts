// users: the application's accounts. The first one is `admin`.
import { userCases } from '../cases/users.ts';
import { favourite } from './favourite.ts';
import type { Random } from '../random.ts';
import type { CollectionSeed, Document, Place } from '../shape.ts';
import { NOW } from '../time.ts';
import { givenNames } from '../vocabulary.ts';

const DAY = 86_400_000;

export const users: CollectionSeed = {
  collection: 'users',
  mapping: 'subscription_users',
  batch: 500,
  cases: userCases,
  document(place) {
    if (place.index === 0) return administrator(place);
    const { random, plain } = place;
    const document = account(place);
    if (plain) return document;
    if (random.chance(0.08)) document._id = place.id.toHexString();
    if (random.chance(0.1)) document['hashed_password'] = `$2b$12$${random.hex(53)}`;
    if (random.chance(0.1)) document['is_active'] = false;
    if (random.chance(0.15)) {
      delete document['is_verified'];
      delete document['is_admin'];
    }
    return document;
  },
};

function account({ id, index, moment: { time }, random, plain }: Place): Document {
  const email = `user${index}@example.com`;
  return {
    _id: id,
    username: `${random.pick(givenNames)}_${index}`,
    email: !plain && random.chance(0.1) ? `User${index}@Example.com` : email,
    hashed_password: random.hex(64),
    is_active: true,
    is_verified: random.chance(0.5),
    is_admin: false,
    created_at: new Date(time),
    updated_at: new Date(Math.min(NOW, time + random.integer(0, 30) * DAY)),
    last_login: random.chance(0.3) ? null : new Date(Math.min(NOW, time + random.integer(1, 60) * DAY)),
    preferences: preferences(random),
    daily_quota: 1000,
    concurrent_limit: 3,
    total_analyses: 12,
    successful_analyses: 10,
    failed_analyses: 2,
    favorite_stocks: random.chance(0.4) ? [favourite(random, time)] : [],
  };
}

function administrator(place: Place): Document {
  return {
    ...account(place),
    username: 'admin',
    email: 'admin@tradingagents.cn',
    is_verified: true,
    is_admin: true,
    last_login: new Date(NOW),
    daily_quota: 10_000,
    concurrent_limit: 10,
  };
}

/** Two generations of the settings: the older one is short and names depths. */
function preferences(random: Random): Record<string, unknown> {
  if (random.chance(0.3)) return { default_market: 'A股', default_depth: random.pick(['深度', '标准', '快速']) };
  return {
    default_market: random.pick(['A股', '港股', '美股']),
    default_depth: random.pick(['1', '3', '5']),
    default_analysts: ['市场分析师', '基本面分析师'],
    auto_refresh: true,
    refresh_interval: 30,
    ui_theme: random.pick(['light', 'dark']),
    sidebar_width: 240,
    language: 'zh-CN',
    notifications_enabled: true,
    email_notifications: false,
    desktop_notifications: true,
    analysis_complete_notification: true,
    system_maintenance_notification: true,
  };
}
