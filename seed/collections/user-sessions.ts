// user_sessions: the upstream application's name for sessions.
import { userSessionCases } from '../cases/sessions.ts';
import type { CollectionSeed } from '../shape.ts';
import { userAgents } from '../vocabulary.ts';
import { expiry } from './sessions.ts';

export const userSessions: CollectionSeed = {
  collection: 'user_sessions',
  mapping: 'sessions',
  batch: 500,
  cases: userSessionCases,
  document({ id, index, moment: { time }, random, world, plain }) {
    const expires = expiry(random, time);
    return {
      _id: id,
      session_id: `us-${index}-${random.hex(8)}`,
      user_id: world.userHex(random),
      created_at: new Date(time),
      last_activity: new Date(time + random.integer(1, 600) * 1000),
      ...((plain || random.chance(0.8)) && { expires_at: expires }),
      ip_address: random.chance(0.1) ? 'unknown' : `192.168.1.${random.integer(1, 254)}`,
      user_agent: random.pick(userAgents),
    };
  },
};
