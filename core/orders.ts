// What an operator may ask of a migration: the payloads, and why one is refused, in a whole sentence.
import { z } from 'zod';

export const cutoverOrder = z.strictObject({
  percentage: z.int().min(0).max(100),
  collection: z.string().min(1).optional(),
});
export const approveOrder = z.strictObject({ gate: z.string().min(1) });
export const rollbackOrder = z.strictObject({
  to: z.string().min(1).optional(),
  reason: z.string().min(1).max(500).optional(),
});
export const abortOrder = z.strictObject({ reason: z.string().min(1).max(500) });
export const incidentOrder = z.strictObject({
  kind: z.enum(['data_corruption', 'complete_system_failure', 'security_breach']),
  detail: z.string().max(500).default(''),
});

export const examples = {
  setCutoverPercentage: '{"percentage": 50}',
  approve: '{"gate": "phase_4_writes"}',
  rollback: '{"to": "data", "reason": "latency"}',
  abort: '{"reason": "postponed"}',
  reportIncident: '{"kind": "data_corruption", "detail": "..."}',
};

export type CutoverOrder = z.infer<typeof cutoverOrder>;
export type ApproveOrder = z.infer<typeof approveOrder>;
export type RollbackOrder = z.infer<typeof rollbackOrder>;
export type AbortOrder = z.infer<typeof abortOrder>;
export type IncidentOrder = z.infer<typeof incidentOrder>;

const longest = 200;

/** What was sent may be of any length; what is told of it, and kept, is not. */
export const brief = (text: string): string => (text.length > longest ? `${text.slice(0, longest)} …` : text);

/** The payload, or the reason it is refused: names the field, what is wrong, and what would be right. */
export function readOrder<T>(
  schema: z.ZodType<T>,
  payload: unknown,
  example: string,
): { order: T } | { refusal: string } {
  const read = schema.safeParse(payload ?? {});
  if (read.success) return { order: read.data };
  const problems = read.error.issues.map((issue) =>
    issue.path.length > 0 ? `${issue.path.join('.')}: ${issue.message}` : issue.message,
  );
  return { refusal: `${brief(problems.join('; '))}. Send for example ${example}.` };
}
