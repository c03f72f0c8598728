// What the workflows of the tree tell the root. Anybody may send it: what is none is refused, and so is a signal that nobody knows.
import { setDefaultSignalHandler, setHandler } from '@temporalio/workflow';
import { captureNews, noticeNews, progressNews, readNews, restoredNews, stageNews } from '../../core/news.ts';
import { brief, examples } from '../../core/orders.ts';
import type { CollectionProgress, DecisionEntry, MigrationState } from '../../core/state.ts';
import * as contract from '../contract.ts';
import { report } from './report.ts';

type Refuse = (order: string, reason: string) => void;

export function hearNews(state: MigrationState, refuse: Refuse): void {
  const hear = <T>(name: string, read: { order: T } | { refusal: string }, use: (news: T) => void) => {
    if ('refusal' in read) return refuse(name, read.refusal);
    use(read.order);
    report(state);
  };
  setHandler(contract.progressSignal, (collection, progress) =>
    hear('progress', readNews(progressNews, { collection, progress }), (news) => {
      // Signals sent together may arrive in another order; progress only grows until the data phase is undone.
      const known = state.collections[news.collection];
      if (!known || amountOf(known) <= amountOf(news.progress)) state.collections[news.collection] = news.progress;
    }),
  );
  setHandler(contract.captureProgressSignal, (payload) =>
    hear('captureProgress', readNews(captureNews, payload), (progress) => void (state.capture = progress)),
  );
  setHandler(contract.stageProgressSignal, (payload) =>
    hear(
      'stageProgress',
      readNews(stageNews, payload),
      ({ stage, waitingFor, routing, back, decision, soaking = false }) => {
        // What an operator set is over with the stage, also when it was left backwards.
        if (stage > state.stage || back) state.override = false;
        state.stage = back ? stage : Math.max(state.stage, stage);
        // What a stage waited for is of no interest where the migration itself waits for somebody.
        if (state.state === 'running') Object.assign(state, { waitingFor, soaking });
        if (decision) keepDecision(state, decision);
        for (const [collection, its] of Object.entries(routing)) {
          const known = state.routing[collection];
          if (!known || known.epoch < its.epoch) state.routing[collection] = its;
        }
      },
    ),
  );
  setHandler(contract.restoredSignal, (payload) =>
    hear('restored', readNews(restoredNews, payload), ({ checkpoint, routing }) => {
      Object.assign(state.routing, routing);
      keepDecision(state, { decision: `stores restored to checkpoint ${checkpoint}`, reason: 'asked by an operator' });
    }),
  );
  setHandler(contract.noticeSignal, (payload) =>
    hear('notice', readNews(noticeNews, payload), ({ order, reason }) => refuse(order, reason)),
  );
  setDefaultSignalHandler((name) =>
    refuse(brief(name), `There is no such order. There are ${Object.keys(examples).join(', ')}, ${plainOrders}.`),
  );
}

const plainOrders = 'pause, resume, retry, advanceStage';
const decisionsKept = 200;

export function keepDecision(state: MigrationState, { decision, reason, severity }: Omit<DecisionEntry, 'at'>): void {
  const one = { at: new Date().toISOString(), decision, reason, ...(severity !== undefined && { severity }) };
  state.decisions = [...state.decisions, one].slice(-decisionsKept);
}

const amountOf = (its: CollectionProgress): number =>
  its.loaded + its.quarantined + its.skipped + its.chunksDone + its.chunksTotal;
