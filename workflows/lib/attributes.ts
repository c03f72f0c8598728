// The search attributes of every workflow of the tree. Never a user's data: they are not encrypted.
import { workflowInfo } from '@temporalio/workflow';
import { defineSearchAttributeKey, SearchAttributeType } from '@temporalio/common';

export const migrationName = defineSearchAttributeKey('MigrationName', SearchAttributeType.KEYWORD);
export const migrationPhase = defineSearchAttributeKey('MigrationPhase', SearchAttributeType.KEYWORD);
export const cutoverPercentage = defineSearchAttributeKey('CutoverPercentage', SearchAttributeType.INT);
export const collectionName = defineSearchAttributeKey('Collection', SearchAttributeType.KEYWORD);

/**
 * Setting one that the server does not know would fail every task of the workflow. Whoever starts a root sets its name where it is known; children are
 * started with it (`interceptors.ts`), and a workflow without it shows its story alone.
 */
export const hasAttributes = (): boolean => workflowInfo().typedSearchAttributes.get(migrationName) !== undefined;
