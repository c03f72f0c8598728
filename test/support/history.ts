// What a workflow's history would give away.
import { expect } from 'vitest';

/** `history`: as JSON. Payloads are base64 in it: the text is looked for in each of the three ways it can lie there, and plainly. */
export function expectNothingOf(history: string, text: string): void {
  expect(history).not.toContain(text);
  for (const shift of [0, 1, 2])
    expect(history).not.toContain(
      Buffer.from(' '.repeat(shift) + text)
        .toString('base64')
        .slice(4, -4),
    );
}
