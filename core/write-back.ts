// Which of two writes to a document of the old system is the later one. Pure; test/model/ visits every state of it.

/** `anchor`: the cluster time at which the reverse replication that writes was anchored. `version`: grows with each write under one anchor. */
export interface WriteOrder {
  readonly anchor: bigint;
  readonly version: bigint;
}

/** Whether another applier has written later. What an earlier anchor has left behind, with whatever version, is older than everything of this one. */
export const isSuperseded = (held: WriteOrder | undefined, own: WriteOrder): boolean =>
  held !== undefined && (held.anchor > own.anchor || (held.anchor === own.anchor && held.version > own.version));
