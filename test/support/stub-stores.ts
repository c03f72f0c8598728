// The stores of a migration as rules, for workflows that run without stores: what stands, whose data counts, and which removals would have lost it.
import { setTimeout as sleep } from 'node:timers/promises';
import { Context } from '@temporalio/activity';
import { KnownFailure, type FailureType } from '../../core/failures.ts';
import {
  afterUndone,
  counts,
  nothingKnown,
  refusalToRemove,
  type Authority,
  type Known,
  type Standing,
} from '../../core/lifecycle.ts';
import type { Gap } from '../../control/capture.ts';
import type { CheckpointEntry, Route, WriteMode } from '../../core/state.ts';
import { allGoesWell, quietly, type Stubs } from './stub-activities.ts';

/** What an activity does instead of going well. */
export type Mishap =
  | { readonly is: 'fails'; readonly type: FailureType; readonly after: boolean }
  | { readonly is: 'takes'; readonly ms: number }
  | { readonly is: 'throws' };

const rank: Record<WriteMode, number> = { old: 0, dual_write: 1, new_system: 2 };

export class StubStores {
  /** The control schema, and in it where the migration stands. */
  schema = false;
  standing: Standing | null = null;
  tables = false;
  data = false;
  routes: Record<string, Route> = {};
  armed = false;
  closed: readonly string[] = [];
  checkpoints: CheckpointEntry[] = [];
  capture = false;
  gap: Gap | null = null;
  /** What must never happen, a sentence each. */
  readonly violations: string[] = [];
  /** Asked before each activity acts. */
  mishap: (activity: string) => Mishap | undefined = () => undefined;

  get authority(): Authority {
    const moved = Object.keys(this.routes).filter((name) => this.routes[name]!.writeMode === 'new_system');
    return { moved, armed: this.armed, closed: this.closed };
  }

  get known(): Known {
    if (!this.schema) return nothingKnown;
    const { standing, authority, checkpoints, routes: routing } = this;
    const capture = { position: this.capture ? '1.1' : null, lagMs: 0, gap: this.gap };
    return { ...nothingKnown, standing, authority, checkpoints, routing: { ...routing }, capture };
  }

  /** Nothing is left of it, and the old system has everything. */
  get isClean(): boolean {
    return !this.schema && !this.tables && !this.data && !counts(this.authority);
  }

  stubs(): Stubs {
    const well: Stubs = { ...allGoesWell(), ...this.#own() };
    const mishappen = (name: string, run: (...args: never[]) => unknown) => this.#sometimes(name, run);
    return Object.fromEntries(
      Object.entries(well).map(([name, run]) => [name, mishappen(name, run as never)]),
    ) as unknown as Stubs;
  }

  #sometimes(name: string, run: (...args: never[]) => unknown) {
    return async (...args: never[]): Promise<unknown> => {
      const mishap = this.mishap(name);
      if (mishap?.is === 'throws') throw new TypeError('undefined is not a function');
      // Shorter than whoever cancels it waits.
      if (mishap?.is === 'takes') await Promise.race([sleep(mishap.ms), Context.current().cancelled]);
      const failed = mishap?.is === 'fails' ? new KnownFailure(mishap.type, `${name} fails by chance.`) : undefined;
      if (failed && mishap?.is === 'fails' && !mishap.after) throw failed;
      const result = await run(...args);
      // Done, and the answer is lost.
      if (failed) throw failed;
      return result;
    };
  }

  #needsSchema(): void {
    if (!this.schema) throw new KnownFailure('StoreBusy', 'The control schema is not there.');
  }

  #remove(what: string): void {
    const refusal = refusalToRemove(this.authority, what);
    if (refusal !== undefined) throw new KnownFailure('NewSystemAuthoritative', refusal);
    for (const [name, its] of Object.entries(this.routes)) {
      if (its.percentage > 0)
        this.violations.push(`${what} was removed while ${its.percentage} % of ${name} is read from it`);
      // A switch thought dead flips nothing afterwards.
      this.routes[name] = { ...its, epoch: its.epoch + 1 };
    }
  }

  #move(names: readonly string[], to: { percentage?: number | undefined; writeMode?: WriteMode | undefined }) {
    for (const name of names) {
      const { percentage, writeMode, epoch } = this.routes[name] ?? {
        percentage: 0,
        writeMode: 'old' as const,
        epoch: 0,
      };
      const next = { percentage: to.percentage ?? percentage, writeMode: to.writeMode ?? writeMode };
      if (next.percentage > 0 && !this.data)
        this.violations.push(`${next.percentage} % of ${name} are read from a target that nothing was copied to`);
      this.routes[name] = { ...next, epoch: epoch + 1 };
    }
    return { ...this.routes };
  }

  #own(): Stubs {
    const write = (standing: Standing) => void (this.schema && (this.standing = standing));
    const change = (to: (standing: Standing) => Standing) =>
      void (this.schema && this.standing && (this.standing = to(this.standing)));
    return {
      readKnown: () => structuredClone(this.known),
      prepareControl: (_name, standing) => {
        this.schema = true;
        this.standing = standing;
        return [];
      },
      writeStanding: write,
      noteUndoing: (steps) =>
        change((standing) => ({ ...standing, undoing: { steps, then: standing.undoing?.then ?? 'parked' } })),
      noteUndone: (step) => change((standing) => afterUndone(standing, step)),
      passStage: (stage) => change((standing) => ({ ...standing, stage, override: false })),
      recordCheckpoint: ({ name, phase, next }) => {
        this.#needsSchema();
        write(next);
        const at = new Date().toISOString();
        this.checkpoints = [...this.checkpoints.filter((one) => one.name !== name), { name, phase, at }];
        return at;
      },
      makePostgres: () => {
        this.#needsSchema();
        this.tables = true;
        return { made: ['api_usage'], timescale: false };
      },
      openCapture: () => {
        this.#needsSchema();
        this.capture = true;
        return { lanes: 1, images: 'post-images', openedAt: '1.1' };
      },
      loadRows: () => {
        this.#needsSchema();
        this.data = true;
        return { repeated: false, stale: 0 };
      },
      gapOf: () => this.gap ?? undefined,
      captureStatus: () =>
        this.capture ? { position: '1.1', lagMs: 0, gap: this.gap, events: 0 } : (undefined as never),
      mayRemove: (what) => this.#remove(what),
      undoData: () => {
        this.#remove('What was copied');
        this.data = false;
        this.capture = false;
        this.gap = null;
        this.checkpoints = this.checkpoints.filter((one) => one.phase !== 'data');
      },
      undoSchema: () => {
        this.#remove('The schema');
        this.tables = false;
        this.data = false;
        this.checkpoints = this.checkpoints.filter((one) => one.phase !== 'schema');
      },
      undoPreparation: () => {
        if (!this.schema) return;
        this.#remove('The control schema');
        if (this.tables) throw new KnownFailure('CompensationFailed', 'Tables stand that it alone knows.');
        Object.assign(this, { schema: false, standing: null, checkpoints: [], routes: {} });
      },
      armReverse: (settings) => {
        this.#needsSchema();
        this.armed = true;
        return { clashSeconds: 10, configurationDirectory: 'configuration', ...settings };
      },
      disarmReverse: () => {
        if (this.authority.moved.length > 0)
          this.violations.push('the way back was taken down while writes were moved');
        this.armed = false;
      },
      route: ({ collections, percentage, writeMode, unmoved, reason, onlyBack }) => {
        this.#needsSchema();
        if (reason === 'operator' && percentage > 0 && this.standing?.undoing?.steps.some((step) => !step.to))
          throw new KnownFailure('StoreBusy', 'The migration is being undone.');
        const left = (name: string) => unmoved === true && this.routes[name]?.writeMode === 'new_system';
        for (const name of collections.filter((one) => !left(one))) {
          const { writeMode: before = 'old', percentage: share = 0 } = this.routes[name] ?? {};
          const after = writeMode ?? before;
          if ((before === 'new_system') !== (after === 'new_system'))
            throw new KnownFailure('SwitchRefused', 'Writes can change sides only behind a fence.');
          if (/rollback|undone/.test(reason) && (onlyBack ? false : percentage > share || rank[after] > rank[before]))
            this.violations.push(
              `a way back (${reason}) moved ${name} from ${share} % ${before} to ${percentage} % ${after}`,
            );
          const to = onlyBack
            ? { percentage: Math.min(percentage, share), writeMode: rank[after] > rank[before] ? before : after }
            : { percentage, writeMode };
          this.#move([name], to);
        }
        if (reason === 'operator' && this.standing) this.standing = { ...this.standing, override: true };
        return { ...this.routes };
      },
      routesNow: () => ({ ...this.routes }),
      writesStand: () => {
        const names = Object.keys(this.routes);
        return names.length === 0 ? undefined : { collections: names, moved: this.authority.moved };
      },
      undoCutover: () => {
        for (const [name, its] of Object.entries(this.routes)) {
          if (its.writeMode === 'new_system')
            throw new KnownFailure('SwitchRefused', 'Writes can change sides only behind a fence.');
          this.routes[name] = { percentage: 0, writeMode: 'old', epoch: its.epoch + 1 };
        }
        this.checkpoints = this.checkpoints.filter((one) => one.phase !== 'cutover');
        return { ...this.routes };
      },
      switchToNew: ({ collections, percentage }) => {
        this.#needsSchema();
        if (!this.armed) throw new KnownFailure('SwitchRefused', 'The way back is not anchored.');
        this.closed = collections;
        const routes = this.#move(collections, { percentage, writeMode: 'new_system' });
        return { routes, pauseMs: 10, steps: {}, verified: 0, leftover: 0, closed: [...collections], notClosed: [] };
      },
      switchBack: ({ collections, percentage, writeMode }) => {
        if (!this.armed) this.violations.push('writes went back without a way back');
        const routes = this.#move(collections, { percentage, writeMode });
        this.closed = [];
        return { routes, pauseMs: 10, steps: {}, verified: 0, leftover: 0, closed: [], notClosed: [] };
      },
      watchStage: quietly,
    };
  }
}
