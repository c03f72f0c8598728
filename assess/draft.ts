// A mapping drafted from what a sample looks like: whatever is seen has a column or stays in the residual, and what only a person can know is told. Pure.
import { identifier, quoted, snake, spellingsOf } from './names.ts';
import type { Seen, TextForm } from './observe.ts';

export interface Observed {
  readonly collection: string;
  readonly root: Seen;
  readonly indexes: readonly {
    readonly keys: readonly (readonly [field: string, order: 1 | -1])[];
    readonly unique: boolean;
  }[];
}

export interface Draft {
  readonly collection: string;
  /** Of the file and of what it exports. */
  readonly name: string;
  readonly text: string;
  readonly columns: number;
  /** What to decide, a sentence each. */
  readonly decide: readonly string[];
}

interface Line {
  readonly column: string;
  readonly code: string;
  readonly path: string;
  readonly words: readonly string[];
  readonly note?: string;
}

const seldom = 0.05;
const mostInGroup = 12;
/** Share of a type that is taken for a slip. */
const few = 0.2;
/** Share of a text's form that makes it the field's. */
const nearlyAll = 0.95;

/** `all`: every collection of the source, for what a field may refer to. `language`: how the file names the language's folder. */
export function draftOf(observed: Observed, all: readonly string[], language: string): Draft {
  const { collection, root, indexes } = observed;
  const draft = new Drafter(observed, all);
  const lines = draft.lines();
  const spread =
    root.fields.get('metadata') && draft.isObject(root.fields.get('metadata')!) ? `{ spread: 'metadata' }` : '';
  const columns = [
    ...lines.map(({ column, code, note }) => `    ${column}: ${code},${note === undefined ? '' : ` // ${note}`}`),
    `    metadata: residual(${spread}),`,
  ];
  const columnOf = new Map(lines.map(({ path, column }) => [path, column]));
  const sets = indexes
    .filter(({ keys, unique }) => !unique && keys.length > 1 && keys.every(([field]) => columnOf.has(field)))
    .map(
      ({ keys }) =>
        `[${keys.map(([field, order]) => `'${columnOf.get(field)!}${order === -1 ? ' desc' : ''}'`).join(', ')}]`,
    );
  const options = sets.length > 0 ? [`  { indexes: [${sets.join(', ')}] },`] : [];
  const name = identifier(collection);
  const words = [...new Set(['residual', ...lines.flatMap((line) => line.words)])].sort();
  const decide = draft.decide();
  const text = [
    `// ${collection} -> PostgreSQL ${name}. Drafted from ${root.present} documents.`,
    ...decide.map((one) => `// DECIDE: ${one}`),
    `import { mapping, table } from '${language}/declare.ts';`,
    `import { ${words.join(', ')} } from '${language}/words.ts';`,
    '',
    `export const ${name} = mapping('${quoted(collection)}', {`,
    `  class: 'active', // static is copied first, then historical, active last`,
    `  to: table(`,
    `    '${name}',`,
    '    {',
    ...columns.map((line) => `  ${line}`),
    '    },',
    ...options.map((line) => `  ${line}`),
    '  ),',
    '});',
    '',
  ].join('\n');
  return { collection, name, text, columns: lines.length + 1, decide };
}

class Drafter {
  readonly #observed: Observed;
  readonly #all: readonly string[];
  readonly #decide: string[] = [];
  readonly #taken = new Set(['id', 'source_id', 'metadata']);

  constructor(observed: Observed, all: readonly string[]) {
    this.#observed = observed;
    this.#all = all;
  }

  lines(): Line[] {
    const { root } = this.#observed;
    const lines: Line[] = [];
    for (const { name, others, seen } of spellingsOf(root.fields)) {
      if (name === '_id') this.#id(seen);
      else if (!(name === 'metadata' && this.isObject(seen)))
        lines.push(...this.#field([name], seen, root.present, others));
    }
    const always = lines.filter(({ path }) => this.#isAlways(path)).map(({ column }) => column);
    if (always.length > 0 && root.present >= 20)
      this.#decide.push(
        `every sampled document has ${always.join(', ')}: \`.required()\` makes them NOT NULL, and sets a document aside that lacks one`,
      );
    if (root.isOpen)
      this.#decide.push('documents have more names than a draft follows: the others stay in the residual');
    return lines;
  }

  decide = (): readonly string[] => [...new Set(this.#decide)];

  isObject = (seen: Seen): boolean => this.#main(seen)[0] === 'object';

  #isAlways(path: string): boolean {
    const seen = this.#observed.root.fields.get(path);
    return seen?.present === this.#observed.root.present && !seen.types.has('null') && seen.types.size === 1;
  }

  #id(seen: Seen): void {
    const kinds = [...seen.types.keys()];
    if (kinds.length === 1 && kinds[0] === 'objectId') return;
    this.#decide.push(
      `documents are called by ${kinds.join(' and ')}: source_id holds it; \`id()\` makes a column of it, which says what a document born in the new system is called`,
    );
  }

  /** Its type, null apart, and the share that has it. */
  #main(seen: Seen): [type: string | undefined, share: number] {
    const types = [...seen.types].filter(([type]) => type !== 'null' && type !== 'missing');
    const total = types.reduce((sum, [, count]) => sum + count, 0);
    const [first] = types.sort((a, b) => b[1] - a[1]);
    return first ? [first[0], first[1] / total] : [undefined, 0];
  }

  #field(path: readonly string[], seen: Seen, of: number, others: readonly string[] = []): Line[] {
    const shown = path.join('.');
    if (path.some((name) => name === '' || name === '__proto__' || /[.$'"\\\n]/.test(name))) {
      this.#decide.push('a field has a name that no path says; it stays in the residual');
      return [];
    }
    const [type, share] = this.#main(seen);
    if (type === 'object' && path.length === 1 && others.length === 0 && this.#isGroup(seen))
      return [...seen.fields].flatMap(([name, inner]) => this.#field([...path, name], inner, seen.present));
    const word = type === undefined ? undefined : this.#wordOf(type, share, seen, path);
    if (!word) {
      this.#decide.push(`${shown} is ${type ?? 'null in every document'}: it stays in the residual`);
      return [];
    }
    const column = this.#columnOf(path);
    const names = [shown, ...others].map((one) => `'${one}'`).join(', ');
    const from = column === shown && others.length === 0 ? '' : `.from(${names})`;
    if (others.length > 0)
      this.#decide.push(
        `${others.join(' and ')} is taken for another spelling of ${shown}: documents in which they differ are set aside`,
      );
    const index = path.length === 1 ? this.#indexOf(path[0]!, word.words) : '';
    const shares = share < 1 ? this.#shares(seen) : undefined;
    if (shares !== undefined)
      this.#decide.push(`${shown} is of several types (${shares}): what the column does not take is null and kept`);
    const rare = seen.present < of * seldom ? 'seldom there' : undefined;
    const note = [shares, rare, word.note].filter((one) => one !== undefined).join('; ');
    return [{ column, code: word.code + from + index, path: shown, words: word.words, ...(note !== '' && { note }) }];
  }

  #isGroup({ fields, isOpen, present }: Seen): boolean {
    return (
      !isOpen &&
      fields.size > 0 &&
      fields.size <= mostInGroup &&
      [...fields.values()].every((one) => one.present >= present * seldom)
    );
  }

  #wordOf(
    type: string,
    share: number,
    seen: Seen,
    path: readonly string[],
  ): { code: string; words: string[]; note?: string } | undefined {
    const shown = path.join('.');
    const plain = (word: string, note?: string) => ({
      code: `${word}()`,
      words: [word],
      ...(note !== undefined && { note }),
    });
    switch (type) {
      case 'string':
        return this.#textOf(seen, path);
      case 'objectId':
        return this.#referenceOf(path) ?? plain('text');
      case 'bool':
        return plain('bool');
      case 'date':
        return plain('instant');
      case 'int':
        return plain(seen.types.has('long') ? 'bigint' : 'int');
      case 'long':
        return plain('bigint');
      case 'double':
        if (isMoney(shown))
          this.#decide.push(`${shown} may be an amount: \`decimal(20, 8)\` holds it exactly, \`double()\` as it is`);
        return plain('double');
      case 'decimal': {
        const scale = Math.min(seen.digits.after, 20);
        const precision = Math.min(seen.digits.before + 6, 30) + scale;
        return {
          code: `decimal(${precision}, ${scale})`,
          words: ['decimal'],
          note: `${seen.digits.before} digits before the point were seen`,
        };
      }
      case 'array': {
        const [inner] = seen.entries ? this.#main(seen.entries) : [];
        if (inner === 'object')
          this.#decide.push(
            `${shown} is a list of documents: \`rows('${shown}', { table, columns })\` makes a table of it`,
          );
        return plain('json', inner === undefined ? 'a list' : `a list of ${inner}`);
      }
      case 'object':
        return plain('json');
      default:
        return share > few ? undefined : plain('json');
    }
  }

  #textOf(seen: Seen, path: readonly string[]): { code: string; words: string[]; note?: string } {
    const total = [...seen.texts.values()].reduce((sum, count) => sum + count, 0);
    const shown = path.join('.');
    const all = (...forms: TextForm[]): boolean => {
      const such = forms.reduce((sum, form) => sum + (seen.texts.get(form) ?? 0), 0);
      if (such < total * nearlyAll) return false;
      if (such < total)
        this.#decide.push(
          `${shown} holds texts of another form, too (${total - such} of ${total}): those are null and kept`,
        );
      return true;
    };
    if (all('day')) return { code: 'day()', words: ['day'] };
    if (all('zoned', 'wallclock')) {
      if (seen.texts.has('wallclock'))
        this.#decide.push(`${shown} holds times that say no zone: \`instant({ zone: 'UTC' })\` takes them for UTC`);
      return { code: seen.texts.has('wallclock') ? `instant({ zone: 'UTC' })` : 'instant()', words: ['instant'] };
    }
    if (all('hex')) return this.#referenceOf(path) ?? { code: 'text()', words: ['text'] };
    if (all('number'))
      this.#decide.push(`${shown} holds numbers as text: \`int()\` or \`decimal(…)\` reads them as numbers`);
    const isSecret = /passw|secret|token$|api_?key/i.test(shown);
    return { code: `text()${isSecret ? '.secret()' : ''}`, words: ['text'] };
  }

  /** `customerId`, `customer` -> the collection customers, if there is one. */
  #referenceOf(path: readonly string[]): { code: string; words: string[]; note: string } | undefined {
    const stem = snake(path.at(-1)!).replace(/_?ids?$/, '');
    const named = this.#all.find((one) => [stem, `${stem}s`, `${stem}es`, stem.replace(/y$/, 'ies')].includes(one));
    if (named === undefined || stem === '') return undefined;
    this.#decide.push(
      `${path.join('.')} is taken for the _id of a document of ${named}: one that names none is null and kept`,
    );
    return {
      code: `ref('${quoted(named)}', { table: '${identifier(named)}' })`,
      words: ['ref'],
      note: `refers to ${named}?`,
    };
  }

  #columnOf(path: readonly string[]): string {
    const plain = path.map(snake).join('_').replace(/_+/g, '_') || 'field';
    const safe = /^\d/.test(plain) ? `_${plain}` : plain;
    let name = this.#taken.has(safe) ? `its_${safe}` : safe;
    for (let n = 2; this.#taken.has(name); n++) name = `${safe}_${n}`;
    this.#taken.add(name);
    return name;
  }

  #indexOf(field: string, words: readonly string[]): string {
    const its = this.#observed.indexes.filter(({ keys }) => keys.length === 1 && keys[0]![0] === field);
    const isKey = words.some((word) => ['text', 'int', 'bigint'].includes(word));
    if (its.some(({ unique }) => unique) && isKey) {
      this.#decide.push(
        `${field} is unique: of documents that share one, the first by _id stays and the others are set aside; \`rank\` says which is to stay`,
      );
      return '.unique()';
    }
    return its.length > 0 && !words.includes('json') ? '.index()' : '';
  }

  #shares(seen: Seen): string {
    const types = [...seen.types].filter(([type]) => type !== 'null');
    const total = types.reduce((sum, [, count]) => sum + count, 0);
    const share = (count: number) => {
      const percent = (count / total) * 100;
      return percent < 1 ? 'under 1' : percent > 99 ? 'over 99' : String(Math.round(percent));
    };
    return types
      .sort((a, b) => b[1] - a[1])
      .map(([type, count]) => `${share(count)} % ${type}`)
      .join(', ');
  }
}

const isMoney = (path: string): boolean => /price|amount|cost|total|balance|fee|tax/i.test(path);

export const indexModule = (drafts: readonly Draft[]): string =>
  [
    '// The application: what `CAUSEWAY_MAPPINGS` names. A collection without a mapping stays where it is.',
    ...drafts.map(({ name }) => `import { ${name} } from './${name}.mts';`),
    '',
    `export const application = [${drafts.map(({ name }) => name).join(', ')}];`,
    '',
  ].join('\n');
