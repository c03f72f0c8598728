// The six checks of the strategy's validation framework, by name.
export const checkNames = [
  'count_validation',
  'sample_validation',
  'business_rule_validation',
  'referential_integrity',
  'data_type_validation',
  'performance_validation',
] as const;
export type CheckName = (typeof checkNames)[number];
