// Rules that keep workflow code deterministic, promises awaited, and the direction of dependencies (docs/architecture.md).
import tseslint from 'typescript-eslint';

/** Regexes, because `group` patterns are gitignore syntax: braces in them silently match nothing. */
const drivers = '^(pg|pg-copy-streams|ioredis|mongodb)(/|$)';
const temporal = '^@temporalio/';
const node = '^node:';
const up = (...folders) => `^(\\.\\./)+(${folders.join('|')})/`;

/** Folder -> what it must not import. Whatever is not named here is allowed. */
const never = {
  core: [
    drivers,
    node,
    temporal,
    up('stores', 'spool', 'control', 'mappings', 'activities', 'workflows', 'workers', 'cli', 'stack', 'seed'),
  ],
  mappings: [
    drivers,
    node,
    temporal,
    up('activities', 'workflows', 'workers', 'cli', 'control', 'spool', 'stack', 'seed'),
    '/stores/[^/]+/(?!target\\.ts$)',
  ],
  'stores/postgres': [
    temporal,
    up('mongodb', 'redis', 'files', 'mappings', 'activities', 'workflows', 'workers', 'cli'),
  ],
  'stores/mongodb': [
    temporal,
    up('postgres', 'redis', 'files', 'mappings', 'activities', 'workflows', 'workers', 'cli'),
  ],
  'stores/redis': [
    temporal,
    up('postgres', 'mongodb', 'files', 'mappings', 'activities', 'workflows', 'workers', 'cli'),
  ],
  'stores/files': [
    temporal,
    drivers,
    up('postgres', 'mongodb', 'redis', 'mappings', 'activities', 'workflows', 'workers', 'cli'),
  ],
  'stores/snapshots': [
    temporal,
    drivers,
    up('postgres', 'mongodb', 'redis', 'files', 'mappings', 'activities', 'workflows', 'workers', 'cli'),
  ],
  spool: [drivers, temporal, up('stores', 'mappings', 'activities', 'workflows', 'workers', 'cli')],
  control: [temporal, up('mappings', 'activities', 'workflows', 'workers', 'cli')],
  activities: ['^@temporalio/(workflow|client|worker)', up('workflows', 'workers', 'cli', 'stack', 'seed')],
  workflows: [
    drivers,
    node,
    '^@temporalio/(activity|client|worker)',
    up('stores', 'spool', 'control', 'mappings', 'workers', 'cli', 'stack', 'seed'),
  ],
  traffic: [temporal, up('workflows', 'workers', 'cli', 'stack', 'seed')],
  lineage: [temporal, up('workflows', 'workers', 'cli', 'stack', 'seed')],
  report: [temporal, node, up('stack', 'seed', 'traffic', 'mappings')],
  seed: [temporal, up('activities', 'workflows', 'workers', 'cli', 'mappings', 'stores', 'stack')],
  stack: [up('activities', 'workflows', 'workers', 'cli', 'mappings', 'stores', 'seed')],
  workers: [up('cli', 'stack', 'seed')],
};
const typesOnly = {
  workflows: [up('activities')],
  report: [drivers, up('activities', 'workflows', 'workers', 'cli')],
};

const layer = ([folder, patterns]) => ({
  files: [`${folder}/**/*.ts`],
  ignores: ['mappings/registry.ts'],
  rules: {
    '@typescript-eslint/no-restricted-imports': [
      'error',
      {
        patterns: [
          ...patterns.map((regex) => ({ regex, message: `${folder}/ must not import this (docs/architecture.md).` })),
          ...(typesOnly[folder] ?? []).map((regex) => ({
            regex,
            allowTypeImports: true,
            message: `${folder}/ may import only types from here.`,
          })),
        ],
      },
    ],
  },
});

/** The SDK replaces clock, randomness and timers inside workflows; these would go round it, or differ on replay. */
const deterministic = {
  files: ['workflows/**/*.ts'],
  rules: {
    'no-restricted-globals': [
      'error',
      'process',
      'fetch',
      'setInterval',
      'setImmediate',
      'require',
      'WeakRef',
      'FinalizationRegistry',
      'performance',
      'Buffer',
    ],
    'no-console': 'error',
    '@typescript-eslint/no-misused-promises': 'off',
  },
};

export default tseslint.config(
  { ignores: ['node_modules/**', '.causeway/**', '**/*.js', 'vitest.config.ts'] },
  {
    files: ['**/*.ts'],
    extends: [tseslint.configs.recommended],
    languageOptions: { parserOptions: { projectService: true } },
    rules: {
      '@typescript-eslint/no-floating-promises': 'error',
      '@typescript-eslint/switch-exhaustiveness-check': ['error', { considerDefaultExhaustiveForUnions: true }],
      '@typescript-eslint/consistent-type-imports': 'error',
      '@typescript-eslint/no-unused-vars': [
        'error',
        { varsIgnorePattern: '^_', argsIgnorePattern: '^_', destructuredArrayIgnorePattern: '^_' },
      ],
      '@typescript-eslint/only-throw-error': 'error',
      'no-console': 'error',
    },
  },
  ...Object.entries(never).map(layer),
  deterministic,
);
