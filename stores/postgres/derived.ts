// Columns that follow another where an application writes rows by itself, which knows nothing of them.
import { literal, name } from './connection.ts';
import type { TableTarget } from './target.ts';

/**
 * A function and its trigger, in the tables' own schema: the control schema goes with the decommission, the application stays. Whoever gives a
 * value is believed; the migration's own writers always give it.
 */
export function* derivedStatements(target: TableTarget): Generator<{ kind: string; object?: string; sql: string }> {
  const derived = Object.entries(target.columns).filter(([, its]) => its.derived);
  if (derived.length === 0) return;
  const object = `causeway_fill_${target.name}`;
  const lines = derived.map(([column, its]) => {
    const [own, from] = [name(column), name(its.derived!.from)];
    return `if tg_op = 'INSERT' then
        if new.${own} is null then new.${own} := ${its.derived!.sql}; end if;
      elsif new.${from} is distinct from old.${from} and new.${own} is not distinct from old.${own} then new.${own} := ${its.derived!.sql};
      end if;`;
  });
  yield {
    kind: 'function',
    object,
    sql: `create function ${name(object)}() returns trigger language plpgsql set search_path = '' as ${literal(
      `begin
      if current_setting('causeway.writer', true) = 'on' then return new; end if;
      ${lines.join('\n      ')}
      return new;
    end`,
    )}`,
  };
  yield {
    kind: 'trigger',
    sql: `create trigger causeway_fill before insert or update on ${name(target.name)} for each row execute function ${name(object)}()`,
  };
}
