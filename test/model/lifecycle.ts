// A small model of one migration's life: its root, what it made, whose data counts, and an operator who may do anything at any moment. The rules are
// those of core/lifecycle.ts, or an unsound neighbour of theirs.
import {
  afterUndone,
  arrive,
  compensates,
  counts,
  onCancel,
  refusalToRemove,
  stepsBack,
  type Authority,
  type Known,
  type Standing,
} from '../../core/lifecycle.ts';
import { nothingKnown } from '../../core/lifecycle.ts';
import { refusalOfAbort } from '../../core/ended.ts';
import { after, writeAhead, type Phase, type UndoStep } from '../../core/story.ts';

const stages = [{ name: 'writes' }];

/** What stands in the stores. */
interface World {
  readonly schema: boolean;
  /** The tables, and whether the control schema knows them as this migration's. */
  readonly tables: 'none' | 'ours' | 'foreign';
  readonly data: boolean;
  /** The new system has the writes, and with them what nobody else has. */
  readonly moved: boolean;
  /** Somebody's file lies where the checks do not want it; whoever put it there may take it away. */
  readonly stray: boolean;
}

/** What a root remembers. */
interface Root {
  readonly is: 'arriving' | 'running' | 'parked';
  readonly phase: Phase;
  readonly undo: readonly UndoStep[];
  readonly made: readonly Phase[];
  /** Left to be undone. */
  readonly undoing: readonly UndoStep[];
  readonly cancelled: boolean;
}

export interface Life {
  readonly world: World;
  readonly standing: Standing | null;
  readonly root: Root | null;
  /** Authoritative data was removed. */
  readonly lost: boolean;
}

/** The rules, each replaceable. */
export interface Rules {
  readonly arrive: typeof arrive;
  readonly mayRemove: (authority: Authority) => boolean;
  readonly compensates: typeof compensates;
  readonly onCancel: (authority: Authority) => 'abort' | 'park' | 'nothing';
  /** Whether the control schema may go while tables stand that only it knows. */
  readonly keepsRecord: boolean;
  /** Whether the root writes down what it will have to undo before it acts. */
  readonly writesAhead: boolean;
  readonly refusesAbort: (known: Known) => boolean;
}

export const sound: Rules = {
  arrive,
  mayRemove: (authority) => refusalToRemove(authority, 'It') === undefined,
  compensates,
  onCancel,
  keepsRecord: true,
  writesAhead: true,
  refusesAbort: (known) => refusalOfAbort('it', known) !== undefined,
};

export const beginning: Life = {
  world: { schema: false, tables: 'none', data: false, moved: false, stray: false },
  standing: null,
  root: null,
  lost: false,
};

const authorityOf = ({ moved }: World): Authority => ({
  moved: moved ? ['all'] : [],
  armed: moved,
  closed: moved ? ['all'] : [],
});
const knownOf = ({ world, standing }: Life): Known => ({
  ...nothingKnown,
  standing: world.schema ? standing : null,
  authority: world.schema ? authorityOf(world) : nothingKnown.authority,
});

type Move = readonly [label: string, to: Life];

/** What happens by itself or by mischance, and what documented commands do. */
export function movesFrom(life: Life, rules: Rules): { readonly happens: Move[]; readonly commands: Move[] } {
  return { happens: [...progress(life, rules), ...mischance(life)], commands: commands(life, rules) };
}

const idle: Omit<Root, 'is' | 'phase' | 'undo'> = { made: [], undoing: [], cancelled: false };

function progress(life: Life, rules: Rules): Move[] {
  const { root } = life;
  if (root === null || root.is === 'parked') return [];
  if (root.is === 'arriving') return [arrival(life, root, rules)];
  if (root.cancelled) {
    const means = rules.onCancel(authorityOf(life.world));
    const heard = { ...root, cancelled: false };
    if (means === 'park') return [['cancel parks', { ...life, root: { ...heard, is: 'parked' } }]];
    if (means === 'abort') return [['cancel aborts', goBack(life, heard, undefined)]];
  }
  if (root.undoing.length > 0) return [undoes(life, root, rules)];
  return runs(life, root, rules);
}

function arrival(life: Life, root: Root, rules: Rules): Move {
  const known = knownOf(life);
  const comes = rules.arrive(known, { until: 'cutover', stages });
  if (comes.is === 'refused') return ['start is refused', { ...life, root: null }];
  if (comes.is === 'begins') return ['begins', { ...life, root: { ...root, is: 'running' } }];
  const { phase, undo, undoing } = comes;
  const is = life.world.stray && !counts(known.authority) ? ('parked' as const) : ('running' as const);
  return ['takes over', { ...life, root: { ...idle, is, phase, undo, undoing: undoing?.steps ?? [] } }];
}

/** The phase that is due: it ends well, or fails for good. */
function runs(life: Life, root: Root, rules: Rules): Move[] {
  const { phase } = root;
  const made = root.undo.some((step) => step.undo === phase) ? root.made : [...root.made, phase];
  const undo = writeAhead(root.undo, phase);
  const going = { ...root, made, undo };
  const standing = standingFor(life, going, {}, rules.writesAhead ? undo : root.undo);
  const begun = { ...life, standing, root: going };
  const failed: Move = [`${phase} fails for good`, fails(begun, going, rules)];
  const { world } = life;
  if (phase === 'preparation' && world.stray) return [failed];
  if (phase === 'preparation') return [failed, passed(begun, going, { ...world, schema: true })];
  if (phase === 'schema')
    return world.tables === 'foreign'
      ? [failed]
      : [failed, passed(begun, going, { ...world, tables: 'ours' }), half(begun, { ...world, tables: 'ours' })];
  if (phase === 'data')
    return [failed, passed(begun, going, { ...world, data: true }), half(begun, { ...world, data: true })];
  return [failed, passed(begun, going, { ...world, moved: true }), half(begun, { ...world, moved: true })];
}

/** It has acted, and not ended. */
const half = (life: Life, world: World): Move => ['acts', { ...life, world }];

function passed(life: Life, root: Root, world: World): Move {
  const next = after(root.phase);
  const label = `${root.phase} passes`;
  if (next === undefined)
    return [
      label,
      { ...life, world, root: null, standing: standingFor({ ...life, world }, root, { completed: true }, root.undo) },
    ];
  const going = { ...root, phase: next };
  return [label, { ...life, world, root: going, standing: standingFor({ ...life, world }, going, {}, root.undo) }];
}

function fails(life: Life, root: Root, rules: Rules): Life {
  if (!rules.compensates(root.phase, root.made)) return { ...life, root: { ...root, is: 'parked' } };
  return writes(life, { ...root, undoing: [{ undo: root.phase }] });
}

/** Written down where there is something to write it in. */
function standingFor(life: Life, root: Root, more: Partial<Standing>, undo: readonly UndoStep[]): Standing | null {
  if (!life.world.schema) return null;
  const undoing = root.undoing.length > 0 ? { steps: root.undoing, then: 'parked' as const } : null;
  const { phase } = root;
  return {
    phase,
    stage: 0,
    override: false,
    undo,
    undoing,
    completed: false,
    until: 'cutover',
    collections: {},
    settings: { stages },
    ...more,
  };
}

const writes = (life: Life, root: Root): Life => ({ ...life, root, standing: standingFor(life, root, {}, root.undo) });

function goBack(life: Life, root: Root, to: Phase | undefined): Life {
  return writes(life, {
    ...root,
    is: 'running',
    undoing: stepsBack(root.undo, to, { authority: authorityOf(life.world), routing: {} }),
  });
}

function undoes(life: Life, root: Root, rules: Rules): Move {
  const [step, ...rest] = root.undoing;
  const done = undone(life, step!, rules);
  if (done === undefined) return [`${step!.undo} cannot be undone`, { ...life, root: { ...root, is: 'parked' } }];
  const undo = root.undo.filter((one) => one.undo !== step!.undo);
  const made = root.made.filter((one) => one !== step!.undo);
  const isEnd = rest.length === 0;
  const going: Root = { ...root, undo, made, phase: step!.undo, undoing: rest, is: isEnd ? 'parked' : 'running' };
  return [`${step!.undo} undone`, { ...done, root: isEnd && step!.undo === 'preparation' ? null : going }];
}

/** undefined: refused. */
function undone(life: Life, step: UndoStep, rules: Rules): Life | undefined {
  const { world } = life;
  const standing = life.standing && afterUndone(life.standing, step);
  // Behind a fence, drained: the old system has everything.
  if (step.undo === 'cutover') return { ...life, standing, world: { ...world, moved: false } };
  if (!world.schema) return { ...life, standing: null };
  if (!rules.mayRemove(authorityOf(world))) return undefined;
  const lost = life.lost || world.moved;
  if (step.undo === 'data') return { ...life, lost, standing, world: { ...world, data: false } };
  if (step.undo === 'schema')
    return {
      ...life,
      lost,
      standing,
      world: { ...world, tables: world.tables === 'ours' ? 'none' : world.tables, data: false },
    };
  // Nothing of a preparation was written down: it has made nothing.
  if (life.standing === null && rules.keepsRecord) return life;
  if (rules.keepsRecord && world.tables === 'ours') return undefined;
  const tables = world.tables === 'ours' ? 'foreign' : world.tables;
  // With the schema goes what was known of where the writes are.
  return { ...life, lost, standing: null, world: { ...world, schema: false, tables } };
}

function mischance(life: Life): Move[] {
  const { world, root } = life;
  const moves: Move[] = [['somebody leaves or takes a file', { ...life, world: { ...world, stray: !world.stray } }]];
  if (root) moves.push(['terminate', { ...life, root: null }]);
  if (root && root.is !== 'arriving')
    moves.push(['cancel', { ...life, root: { ...root, is: 'running', cancelled: true } }]);
  return moves;
}

function commands(life: Life, rules: Rules): Move[] {
  const { root } = life;
  if (root === null) return withoutRoot(life, rules);
  if (root.is === 'arriving') return [];
  const moves: Move[] = [];
  if (root.is === 'parked') moves.push(['retry', { ...life, root: { ...root, is: 'running' } }]);
  if (root.undoing.length === 0)
    moves.push(['abort', goBack(life, root, undefined)], ['rollback --to old', goBack(life, root, 'data')]);
  return moves;
}

function withoutRoot(life: Life, rules: Rules): Move[] {
  const known = knownOf(life);
  const fresh: Root = { ...idle, is: 'arriving', phase: 'preparation', undo: [] };
  const moves: Move[] = [['start', { ...life, root: fresh }]];
  const undo = known.standing?.undo ?? [];
  const steps = (to: Phase | undefined) => stepsBack(undo, to, known);
  const all = (list: readonly UndoStep[]) => list.reduce<Life>((at, step) => undone(at, step, rules) ?? at, life);
  if (!rules.refusesAbort(known)) moves.push(['abort', all(steps(undefined))]);
  moves.push(['rollback --to old', all(steps('data'))]);
  return moves;
}

/** Where nothing has to be done any more: everything is done, or nothing is left and the old system has everything. */
export const isGood = ({ world, root, standing }: Life): boolean =>
  root === null &&
  (world.moved
    ? standing?.completed === true
    : !world.schema && !world.data && world.tables !== 'ours' && world.tables !== 'foreign');
