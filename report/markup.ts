// HTML as a tagged template: whatever is put in is escaped, unless it is markup of ours already. Tables from rows.

export class Markup {
  readonly text: string;
  constructor(text: string) {
    this.text = text;
  }
}

type Part = Markup | string | number | null | undefined | false | readonly Part[];

const entities: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' };
/** Also takes out what no HTML or SVG may contain: control characters and halves of surrogate pairs. */
export const escape = (text: string): string =>
  text
    .replace(/\p{Surrogate}/gu, '\ufffd')
    .replace(/[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f]/g, '\ufffd')
    .replace(/[&<>"']/g, (found) => entities[found]!);

const partText = (part: Part): string =>
  part instanceof Markup
    ? part.text
    : Array.isArray(part)
      ? part.map(partText).join('')
      : part === null || part === undefined || part === false
        ? ''
        : escape(String(part as string | number));

export const html = (strings: TemplateStringsArray, ...parts: readonly Part[]): Markup =>
  new Markup(strings.reduce((all, string, i) => all + partText(parts[i - 1]) + string));

export type Cell = Markup | string | number | null;

/** A column: its head, and whether it holds numbers. */
export type Column = string | { readonly number: string };

/** Without rows there is no table, and a sentence instead. */
export function table(columns: readonly Column[], rows: readonly (readonly Cell[])[], none: string): Markup {
  if (rows.length === 0) return html`<p class="none">${none}</p>`;
  const numeric = columns.map((column) => typeof column !== 'string');
  const head = columns.map((column, i) => {
    const name = typeof column === 'string' ? column : column.number;
    return numeric[i] ? html`<th scope="col" class="n">${name}</th>` : html`<th scope="col">${name}</th>`;
  });
  const body = rows.map(
    (row) =>
      html`<tr>
        ${row.map((cell, i) => (numeric[i] ? html`<td class="n">${cell ?? '–'}</td>` : html`<td>${cell ?? '–'}</td>`))}
      </tr> `,
  );
  return html`<div class="scroll">
    <table>
      <thead>
        <tr>
          ${head}
        </tr>
      </thead>
      <tbody>
        ${body}
      </tbody>
    </table>
  </div>`;
}
