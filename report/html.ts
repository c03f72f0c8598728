// The report as one page that needs nothing else: no script, no address to load from. For a manager on top, for an auditor below.
import type { Section } from './cells.ts';
import { figuresOf } from './figures-of.ts';
import { instant } from './figures.ts';
import { escape, html, type Markup } from './markup.ts';
import { sectionsOf } from './sections.ts';
import type { Report } from './shape.ts';
import { style } from './style.ts';

/** Even where the page lies on a server, it loads nothing and sends nothing. */
const policy = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'";

export function htmlOf(report: Report): string {
  const sections: Section[] = [
    { id: 'charts', title: 'Charts', body: html`<div class="figures">${figuresOf(report)}</div>` },
    ...sectionsOf(report),
  ];
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="${escape(policy)}">
<meta name="referrer" content="no-referrer">
<link rel="icon" href="data:,">
<title>${escape(`Causeway: migration ${report.migration}`)}</title>
<style>${style.text}</style>
</head>
<body>
<main>
${top(report, sections).text}
${sections
  .map(
    ({ id, title, body }) =>
      html`<section id="${id}">
        <h2>${title}</h2>
        ${body}
      </section> `.text,
  )
  .join('')}
${footer(report).text}
</main>
</body>
</html>
`;
}

const top = ({ migration, generatedAt, summary, notes }: Report, sections: readonly Section[]): Markup =>
  html`<header>
      <h1>Migration ${migration}</h1>
      <p class="soft">Report of <time>${instant(generatedAt)}</time>. All times are UTC.</p>
    </header>
    <p class="headline ${summary.verdict}">${summary.headline}</p>
    <dl class="points">
      ${summary.points.map(
        (point) =>
          html`<div class="${point.verdict}">
            <dt>${point.label}</dt>
            <dd>${point.value}</dd>
          </div> `,
      )}
    </dl>
    <h3>What is open</h3>
    ${
      summary.open.length === 0
        ? html`<p>Nothing.</p>`
        : html`<ul class="todo">
            ${summary.open.map((one) => html`<li>${withCommands(one)}</li> `)}
          </ul>`
    }
    ${
      notes.length > 0 &&
      html`<h3>What this report could not tell</h3>
        <ul class="todo">
          ${notes.map((one) => html`<li>${withCommands(one)}</li> `)}
        </ul>`
    }
    <nav>${sections.map(({ id, title }) => html`<a href="#${id}">${title}</a>`)}</nav>`;

const footer = ({ migration }: Report): Markup =>
  html`<footer>
    <p>
      Made by <code>causeway report --migration ${migration}</code> from the tables in <code>migration_control</code>.
      It holds no document's content, no ids of documents and no addresses; <code>causeway quarantine show</code> and
      <code>causeway decisions</code> tell more to those who may see it. The same figures as JSON:
      <code>causeway report --json</code>.
    </p>
  </footer>`;

/** What stands between backquotes is a command. */
const withCommands = (text: string): Markup[] =>
  text.split('`').map((part, i) => (i % 2 === 1 ? html`<code>${part}</code>` : html`${part}`));
