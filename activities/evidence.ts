import { evidenceSchema, type Evidence } from '../core/evidence.ts';
import type { Resources } from './resources.ts';
export async function sampleEvidence(
  _r: Resources,
  _o: {
    collections: string[];
    windowSeconds: number;
    settings: { zone: string; providers: string[] };
    probeRole?: string;
  },
): Promise<Evidence> {
  const now = new Date().toISOString();
  return evidenceSchema.parse({ from: now, to: now });
}
