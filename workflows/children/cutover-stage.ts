// One stage of the cutover: approval, gates, move the traffic, watch it, and pass, hold or go back.
import {
  condition,
  executeChild,
  getExternalWorkflowHandle,
  setCurrentDetails,
  setHandler,
  sleep,
  workflowInfo,
} from '@temporalio/workflow';
import { heldByOperator, standingBefore, type StageOutcome } from '../../core/cutover.ts';
import type { Incident } from '../../core/evidence.ts';
import { approveOrder, examples, incidentOrder, readOrder } from '../../core/orders.ts';
import type { Settings, Stage } from '../../core/settings.ts';
import type { WriteMode } from '../../core/state.ts';
import {
  advanceStageSignal,
  approveSignal,
  reportIncidentSignal,
  stageProgressSignal,
  type StageProgress,
} from '../contract.ts';
import { tellUseless } from '../lib/notices.ts';
import { Monitor } from '../lib/monitor.ts';
import { failure, reasonOf } from '../lib/reason.ts';
import { introduce } from '../lib/report.ts';
import { routesNow, soak, type Going, type Heard } from '../lib/soak.ts';
import { bringChangesBack } from '../lib/start-reverse.ts';
import { control, long, routing, switching } from '../proxies.ts';
import { validation } from './validation.ts';

export interface StageInput {
  readonly migration: string;
  readonly root: string;
  readonly index: number;
  readonly stage: Stage;
  readonly collections: readonly string[];
  readonly approvalSeconds: number;
  /** The stage goes on after a pause, and an operator has moved its traffic: it is not moved back. */
  readonly keepRouting: boolean;
  /** An operator has ended the stage before with its traffic as it was. */
  readonly accepted: boolean;
  readonly watch: Settings;
  /** The stage has begun, and goes on in a new history. */
  readonly going?: Going;
}

export async function cutoverStage(input: StageInput): Promise<StageOutcome> {
  const outcome = await new Course(input).run();
  const said =
    outcome.is === 'passed' ? 'It has passed.' : `It goes back (${outcome.mode}): ${outcome.reasons.join('; ')}`;
  setCurrentDetails(`## ${input.stage.name}\n\n${said}`);
  return outcome;
}

class Course {
  readonly #input: StageInput;
  readonly #settings: Settings;
  readonly #monitor: Monitor;
  readonly #heard: Heard;
  /** Reported while the stage is not being watched: what it was about to do is not done. */
  #incident: Incident['kind'] | undefined;
  #watched = false;
  #waitingFor: string | null;
  /** There is something for `advanceStage` to end. */
  #soaking: boolean;

  constructor(input: StageInput) {
    const { watch: settings } = input;
    this.#input = input;
    this.#settings = settings;
    this.#waitingFor = input.going?.proposed ? 'approve {"gate": "rollback"}' : null;
    this.#soaking = input.going !== undefined;
    this.#heard = { approved: new Set(input.going?.approved), advanced: false };
    const { policy, sampleSeconds, zone, providers, probeRole } = settings;
    this.#monitor = new Monitor(
      {
        stage: input.stage.name,
        collections: input.collections,
        // What a gate lets pass must not hold the stage afterwards.
        policy: {
          ...policy,
          intervalSeconds: sampleSeconds,
          hold: { ...policy.hold, quarantineShare: settings.quarantineBudget },
        },
        sampleSeconds,
        zone,
        providers,
        ...(probeRole !== undefined && { probeRole }),
      },
      input.going?.seen,
    );
    setHandler(
      approveSignal,
      (payload) => {
        const read = readOrder(approveOrder, payload, examples.approve);
        const refusal = 'refusal' in read ? read.refusal : this.#refuseGate(read.order.gate);
        if (refusal !== undefined) tellUseless('approve', refusal);
        else if ('order' in read) this.#heard.approved.add(read.order.gate);
      },
      { description: `Open the gate of ${input.stage.name}` },
    );
    setHandler(
      advanceStageSignal,
      () => {
        if (this.#soaking) this.#heard.advanced = true;
        else tellUseless('advanceStage', `${input.stage.name} is not soaking now.`);
      },
      { description: 'End the soak now' },
    );
    setHandler(
      reportIncidentSignal,
      (payload) => {
        const read = incidentOrder.safeParse(payload);
        if (!read.success) return tellUseless('reportIncident', `Send for example ${examples.reportIncident}.`);
        // What the policy does not judge must not look like an interval in which nothing was wrong.
        if (!policy.criticalErrors[read.data.kind]) return;
        if (this.#watched) this.#monitor.report({ kind: read.data.kind });
        else this.#incident = read.data.kind;
      },
      { description: 'Judged at once, whatever is being sampled' },
    );
  }

  async run(): Promise<StageOutcome> {
    const { stage, going } = this.#input;
    if (!going) {
      if (stage.approve) await this.#approval(stage.name);
      await this.#gates();
      await this.#operator();
      if (this.#incident !== undefined) return this.#fled(this.#incident);
      await this.#move();
    }
    // One that came meanwhile is judged with what now stands.
    if (this.#incident !== undefined) this.#monitor.report({ kind: this.#incident });
    this.#incident = undefined;
    this.#watched = true;
    const outcome = await soak({
      input: this.#input,
      settings: this.#settings,
      monitor: this.#monitor,
      heard: this.#heard,
      tell: (waitingFor, more) => this.#tell(waitingFor, { soaking: true, ...more }),
    });
    this.#watched = this.#soaking = false;
    if (outcome.is !== 'passed') return outcome;
    // It came when the last decision had been made.
    const late = this.#monitor.unjudged();
    if (late !== undefined) return this.#fled(late.kind);
    if (this.#input.stage.performance || this.#input.stage.validate) await this.#tell(null);
    const end = await this.#conclude();
    if (this.#incident !== undefined) return this.#fled(this.#incident);
    return end.is === 'passed' ? outcome : end;
  }

  /** An incident outside of the watching needs no evidence beside it. */
  async #fled(kind: Incident['kind']): Promise<StageOutcome> {
    const reason = `incident reported: ${kind}`;
    await this.#tell(null, {
      decision: { decision: `rollback, immediate, of ${this.#input.stage.name}`, reason, severity: 'critical' },
    });
    return { is: 'back', mode: 'immediate', reasons: [reason] };
  }

  /** The root has looked at the same; what is sent to the stage itself comes past it. */
  #refuseGate(gate: string): string | undefined {
    if (this.#waitingFor?.includes(`"${gate}"`)) return undefined;
    return `gate: nothing waits for "${gate}" now${this.#waitingFor === null ? '' : `; the stage waits for ${this.#waitingFor}`}.`;
  }

  async #approval(gate: string): Promise<void> {
    const { approvalSeconds } = this.#input;
    await this.#tell(`approve {"gate": "${gate}"}`);
    const heard = () => this.#heard.approved.has(gate) || this.#incident !== undefined;
    if (!(await condition(heard, approvalSeconds * 1000)))
      throw failure({ type: 'ApprovalTimedOut', message: `Nobody approved ${gate} within ${approvalSeconds} s.` });
    await this.#tell(null);
  }

  /** A shut gate is looked at again until it opens, or for too long. */
  async #gates(): Promise<void> {
    const { collections, stage } = this.#input;
    const { gateLagMs, gateSeconds, quarantineBudget } = this.#settings;
    const until = Date.now() + gateSeconds * 1000;
    for (;;) {
      const shut = await control.shutGates({ collections, lagMs: gateLagMs, quarantineShare: quarantineBudget });
      if (shut.length === 0 || this.#incident !== undefined) return this.#tell(null);
      await this.#tell(`gates of ${stage.name}: ${shut.join(' ')}`.slice(0, 1000));
      if (Date.now() >= until)
        throw failure({ type: 'GateShut', message: `${stage.name} cannot begin: ${shut.join(' ')}` });
      await sleep(2000);
    }
  }

  /** Who has taken reads back since the stage before passed is not overruled: the stage waits until they are there again, or is told to go on. */
  async #operator(): Promise<void> {
    const { collections, index, stage, keepRouting, accepted } = this.#input;
    const { percentage } = standingBefore(this.#settings.stages, index);
    if (keepRouting || accepted || percentage === 0) return;
    const before = { name: stage.name, percentage };
    const over = () => this.#heard.advanced || this.#incident !== undefined;
    let told: string | null = null;
    while (!over()) {
      const why = heldByOperator(before, await routesNow(), collections);
      this.#soaking = why !== null;
      if (why !== told)
        await this.#tell(why === null ? null : `${stage.name} does not begin: ${why}`, { soaking: this.#soaking });
      told = why;
      if (why === null) break;
      await condition(over, this.#settings.sampleSeconds * 3000);
    }
    this.#soaking = false;
    this.#heard.advanced = false;
    if (told !== null) await this.#tell(null);
  }

  /** Writes move behind a fence, reads by a row. What undoes it was written down before the phase began. */
  async #move(): Promise<void> {
    const { collections, stage, keepRouting, migration } = this.#input;
    if (stage.writes === 'new_system') {
      await bringChangesBack(migration, this.#settings);
      const order = { collections, percentage: stage.percentage, fenceMs: this.#settings.fenceMs };
      const { routes, pauseMs, steps, verified, notClosed } = await switching.switchToNew.executeWithOptions(
        { summary: 'writes move to the new system' },
        [order],
      );
      const paused = pauseMs === null ? 'they were there already' : `writers waited ${pauseMs} ms${partsOf(steps)}`;
      if (pauseMs === null && !keepRouting) await this.#route();
      const open = notClosed.length > 0 ? `; not closed to writers past the library: ${notClosed.join(', ')}` : '';
      await this.#begun({
        routing: routes,
        decision: {
          decision: 'writes moved to the new system',
          reason: `${paused}, ${verified} documents compared${open}`,
        },
      });
      return;
    }
    if (keepRouting) await this.#begun({});
    else await this.#route(stage.writes);
  }

  /** The traffic is where the stage has it: from here on `advanceStage` has something to end. */
  #begun(more: Partial<StageProgress>): Promise<void> {
    this.#soaking = true;
    return this.#tell(null, { soaking: true, ...more });
  }

  async #route(writeMode?: WriteMode): Promise<void> {
    const { collections, stage } = this.#input;
    const order = { collections, percentage: stage.percentage, writeMode, reason: stage.name };
    const routes = await routing.route.executeWithOptions(
      { summary: `${stage.percentage} %, writes ${stage.writes}` },
      [order],
    );
    await this.#begun({ routing: routes });
  }

  /** What the strategy asks of a stage at its end. */
  async #conclude(): Promise<StageOutcome> {
    const { stage, collections, migration } = this.#input;
    if (stage.performance) {
      const slower = await this.#slower();
      if (slower.length > 0) return { is: 'back', mode: 'expedited', reasons: slower };
    }
    if (!stage.validate) return { is: 'passed' };
    try {
      await executeChild(validation, {
        workflowId: `${workflowInfo().workflowId}/validation`,
        args: [migration, collections, this.#settings],
      });
      return { is: 'passed' };
    } catch (error) {
      const { type, message } = reasonOf(error);
      if (type !== 'ValidationFailed') throw error;
      return { is: 'back', mode: 'expedited', reasons: [message] };
    }
  }

  /** Both systems measured side by side; why the new one is slower than the old, or has lost an index. */
  async #slower(): Promise<readonly string[]> {
    const { zone, providers, performance } = this.#settings;
    await long.runPerformanceTests.executeWithOptions({ summary: 'old and new system side by side' }, [
      { collections: this.#input.collections, settings: performance, transform: { zone, providers } },
    ]);
    const { passed, reasons } = await control.performanceGate({
      maxAgeSeconds: performance.maxAgeSeconds,
      accept: 'no_slower',
    });
    return passed ? [] : reasons;
  }

  async #tell(waitingFor: string | null, more: Partial<StageProgress> = {}): Promise<void> {
    const { migration, root, index, stage } = this.#input;
    this.#waitingFor = waitingFor;
    introduce(
      migration,
      stage.name,
      [
        `## ${stage.name}`,
        '',
        `${stage.percentage} % of reads on the new system, writes: ${stage.writes}; watched for ${stage.soakSeconds} s, \`advanceStage\` ends it.`,
        ...(waitingFor ? ['', `Waits for: ${waitingFor}`] : []),
      ].join('\n'),
    );
    if (more.decision) await control.recordAudit('decision', { ...more.decision, stage: stage.name });
    await getExternalWorkflowHandle(root).signal(stageProgressSignal, {
      stage: index,
      waitingFor,
      routing: {},
      ...more,
    });
  }
}

/** Which step of the move took how long. */
const partsOf = (steps: Readonly<Record<string, number>>): string => {
  const parts = Object.entries(steps).map(([step, ms]) => `${step} ${ms}`);
  return parts.length > 0 ? ` (${parts.join(', ')})` : '';
};
