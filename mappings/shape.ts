// BSON types as zod schemas, for a mapping's `shape`: what the source's fields are known to hold.
import { Decimal128, Double, Int32, Long, ObjectId } from 'bson';
import { z } from 'zod';

const isNumber = (value: unknown) =>
  value instanceof Int32 ||
  value instanceof Double ||
  value instanceof Long ||
  value instanceof Decimal128 ||
  typeof value === 'number';

export const as = {
  any: z.unknown(),
  text: z.string(),
  boolean: z.boolean(),
  date: z.custom<Date>((value) => value instanceof Date, 'not a BSON date'),
  integer: z.custom<Int32 | Long>((value) => value instanceof Int32 || value instanceof Long, 'not an integer'),
  number: z.custom<Int32 | Double | Long | Decimal128>(isNumber, 'not a number'),
  objectId: z.custom<ObjectId>((value) => value instanceof ObjectId, 'not an ObjectId'),
  object: z.record(z.string(), z.unknown()),
  array: z.array(z.unknown()),
};
