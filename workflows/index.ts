// The bundle: names every workflow.
export { decommission, rollback } from './entrances/back.ts';
export { checkpoint, restore, snapshot } from './entrances/checkpoints.ts';
export { migration } from './entrances/migration.ts';
export { quarantineRetry, validation, verification } from './entrances/proofs.ts';
export { preparationPhase } from './phases/1-preparation.ts';
export { schemaPhase } from './phases/2-schema.ts';
export { dataPhase } from './phases/3-data.ts';
export { cutoverPhase } from './phases/4-cutover.ts';
export { changeCapture } from './children/change-capture.ts';
export { reverseSync } from './children/reverse-sync.ts';
export { copyCollection } from './children/copy-collection.ts';
export { cutoverStage } from './children/cutover-stage.ts';
