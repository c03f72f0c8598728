// The search attributes of every workflow of the tree. Never a user's data: they are not encrypted.
import { defineSearchAttributeKey, SearchAttributeType } from '@temporalio/common';

export const migrationName = defineSearchAttributeKey('MigrationName', SearchAttributeType.KEYWORD);
export const migrationPhase = defineSearchAttributeKey('MigrationPhase', SearchAttributeType.KEYWORD);
export const cutoverPercentage = defineSearchAttributeKey('CutoverPercentage', SearchAttributeType.INT);
export const collectionName = defineSearchAttributeKey('Collection', SearchAttributeType.KEYWORD);
