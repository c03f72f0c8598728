// What every connection sets for itself, whatever server, database or role have as defaults (`alter database ... set`, `alter role ... set`).

const settings: Readonly<Record<string, string>> = {
  // A writer that begins under another isolation sees the routes as they were, and the ledger's rows as they were.
  default_transaction_isolation: 'read committed',
  default_transaction_deferrable: 'off',
  default_transaction_read_only: 'off',
  // Time-outs are given per transaction, where the work is known.
  idle_in_transaction_session_timeout: '0',
  idle_session_timeout: '0',
  // Tables are the application's, in `public`, whatever it is called after the role.
  search_path: 'public',
  // How values look as text, which is how the driver and COPY exchange them.
  timezone: 'UTC',
  datestyle: 'ISO, MDY',
  intervalstyle: 'postgres',
  extra_float_digits: '1',
  bytea_output: 'hex',
  standard_conforming_strings: 'on',
  array_nulls: 'on',
  transform_null_equals: 'off',
  client_encoding: 'UTF8',
  // Many short statements: compiling a plan takes longer than running it.
  jit: 'off',
};

/** One statement. A server of an older version does not know every setting; whoever lowered the durability of commits did not mean these. */
export function sessionSettings(timeouts: { lockTimeoutMs?: number; statementTimeoutMs?: number } = {}): string {
  const all = {
    ...settings,
    lock_timeout: String(timeouts.lockTimeoutMs ?? 0),
    statement_timeout: String(timeouts.statementTimeoutMs ?? 0),
    transaction_timeout: '0',
  };
  const rows = Object.entries(all).map(([setting, value]) => `('${setting}', '${value}')`);
  return `select set_config(s.name, s.value, false) from (values ${rows.join(', ')}) s (name, value)
    join pg_catalog.pg_settings p on lower(p.name) = s.name where p.setting is distinct from s.value
    union all select set_config('synchronous_commit', 'on', false) where current_setting('synchronous_commit') = 'off'`;
}
