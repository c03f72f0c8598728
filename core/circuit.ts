// A store that is known to be away is not asked by everybody: after a failure nobody asks for a while, then one does. Pure.

export interface Circuit {
  /** ms; nobody asks before. 0: the store answers. */
  readonly openUntil: number;
}

export const closed: Circuit = { openUntil: 0 };

/** Whether the store is to be asked now, and the circuit for those who come after. Who asks after a pause asks alone for as long again. */
export const ask = (
  circuit: Circuit,
  now: number,
  pauseMs: number,
): { readonly may: boolean; readonly next: Circuit } => {
  if (circuit.openUntil === 0) return { may: true, next: circuit };
  return now < circuit.openUntil ? { may: false, next: circuit } : { may: true, next: { openUntil: now + pauseMs } };
};

export const answered = (isAway: boolean, now: number, pauseMs: number): Circuit =>
  isAway ? { openUntil: now + pauseMs } : closed;
