// How long the compiled reader takes for a token_usage document, beside the BSON library's decoding and the plain reader: `node --import tsx bench/language.ts 300000`.
import { performance } from 'node:perf_hooks';
import { deserialize, serialize } from 'bson';
import { compile } from '../mappings/language/fast/compile.ts';
import { CopyOutput } from '../mappings/language/fast/output.ts';
import { forward } from '../mappings/language/forward.ts';
import tokenUsage from '../mappings/tradingagents-cn/token-usage.ts';
import { generators } from '../seed/world.ts';

const count = Number(process.argv[2] ?? 300_000);
const settings = { asOf: Date.UTC(2100, 0, 1), zone: 'Asia/Shanghai', providers: [] };
const seed = generators({ documents: 30_000, dirty: 0, seed: 11 }).find(
  (one) => one.shape.collection === 'token_usage',
)!;
const plain = Array.from({ length: seed.plan.count }, (_, i) => seed.clean(i)).filter((one) => '_created_at' in one);
const distinct = plain.map((document) => Buffer.from(serialize(document)));
const documents = Array.from({ length: count }, (_, i) => distinct[i % distinct.length]!);
const read = compile(tokenUsage)!;
const out = new CopyOutput();
let taken = 0;

const runs = {
  compiled: (bytes: Buffer) => {
    if (out.at > 1 << 19) out.at = 0;
    if (read(bytes, out, settings)) taken++;
  },
  deserialize: (bytes: Buffer) => void deserialize(bytes, { promoteValues: false, promoteLongs: false }),
  plain: (bytes: Buffer) => void forward(tokenUsage, bytes, settings),
};

/** Microseconds of processor per document. */
function timed(run: (bytes: Buffer) => void, given: readonly Buffer[]): { cpu: number; wall: number } {
  const [began, before] = [performance.now(), process.cpuUsage()];
  for (const bytes of given) run(bytes);
  const { user, system } = process.cpuUsage(before);
  return { cpu: (user + system) / given.length, wall: ((performance.now() - began) * 1000) / given.length };
}

for (const run of [runs.compiled, runs.deserialize]) timed(run, documents);
taken = 0;
const compiled = timed(runs.compiled, documents);
const library = timed(runs.deserialize, documents);
const slow = timed(runs.plain, documents.slice(0, 20_000));
const two = (number: number) => Number(number.toFixed(2));
process.stdout.write(
  `${JSON.stringify({ documents: count, bytes: distinct[0]!.length, taken, compiled: two(compiled.cpu), deserialize: two(library.cpu), ratio: two(compiled.cpu / library.cpu), plain: two(slow.cpu) })}\n`,
);
