// What `npm run soak` was asked for. Each soak has a size of its own where nothing was said.
import { z } from 'zod';

const number = z.coerce.number().positive().optional();
const asked = z
  .object({
    SOAK_SEEDS: z
      .string()
      .default('1')
      .transform((text) => text.split(',').map(Number))
      .pipe(z.array(z.int())),
    SOAK_SECONDS: number,
    SOAK_DOCUMENTS: number,
    SOAK_RATE: number,
    SOAK_KILLS: number,
    SOAK_CYCLES: number,
    SOAK_SHORT: z.string().optional(),
  })
  .parse(process.env);

/** What takes long and is no part of `npm test`. */
export const isSoak = process.env['SOAK'] !== undefined;

/** The short round. */
export const isShort = asked.SOAK_SHORT !== undefined;

/** A soak runs once for each. */
export const seeds = asked.SOAK_SEEDS;

export const size = {
  /** How long there are writes, s. */
  seconds: asked.SOAK_SECONDS,
  documents: asked.SOAK_DOCUMENTS,
  /** Writes per second. */
  rate: asked.SOAK_RATE,
  kills: asked.SOAK_KILLS,
  /** Times that the writes move there and back. */
  cycles: asked.SOAK_CYCLES,
};
