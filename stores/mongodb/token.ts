// Positions in a change stream: how they are kept, what time they tell, and how a server says that it cannot go on from one.
import { EJSON } from 'bson';
import { MongoServerError } from 'mongodb';
import { mongoFailure } from './connection.ts';

/** A resume token as MongoDB writes it; opaque but for being kept. */
export type Token = Record<string, unknown>;

/** As JSON: a token may hold binary data beside its text. */
export const tokenText = (token: Token): string => EJSON.stringify(token, { relaxed: false });
export const tokenOf = (json: Record<string, unknown>): Token => EJSON.deserialize(json, { relaxed: false }) as Token;

/** The stream cannot be resumed: what happened, in the server's code and a sentence. */
export class StreamLost extends Error {
  readonly kind: 'history-lost' | 'token-refused';
  constructor(kind: StreamLost['kind'], message: string) {
    super(message);
    this.name = 'StreamLost';
    this.kind = kind;
  }
}

/** 286 ChangeStreamHistoryLost, 136 CappedPositionLost: what was to be read is no longer there. 10334: an event is too large to be told. */
const historyLost = new Set([286, 136, 10334]);
/** 280 ChangeStreamFatalError, 260 InvalidResumeToken, 50811/40647/40648 a token this server did not write or cannot read. */
const tokenRefused = new Set([280, 260, 222, 50811, 40647, 40648, 40649, 40576]);

/** As a lost stream, or as what any other command's error is. What the server says may be resumed from is no loss, whatever its code. */
export function lostOr(error: unknown, doing: string): unknown {
  if (!(error instanceof MongoServerError) || error.hasErrorLabel('ResumableChangeStreamError'))
    return mongoFailure(error, doing);
  const code = Number(error.code);
  if (historyLost.has(code) || /resume (of change stream was not possible|point may no longer)/i.test(error.message))
    return new StreamLost(
      'history-lost',
      `the source can no longer tell the changes since the last one read (code ${code})`,
    );
  if (tokenRefused.has(code))
    return new StreamLost(
      'token-refused',
      `the source does not accept the position of the last change read (code ${code})`,
    );
  if (error.hasErrorLabel('NonResumableChangeStreamError'))
    return new StreamLost('token-refused', `the source says that its change stream cannot be resumed (code ${code})`);
  return mongoFailure(error, doing);
}

/**
 * The cluster time in MongoDB's own tokens: a key string that begins with a timestamp. It is what the stream has passed; the time of a reply may be
 * ahead of it by what no majority has yet. Undefined for tokens of another make.
 */
export function timeOf(token: Token): bigint | undefined {
  const data = String(token['_data']);
  return /^82[0-9a-f]{16}/i.test(data) ? BigInt(`0x${data.slice(2, 18)}`) : undefined;
}
