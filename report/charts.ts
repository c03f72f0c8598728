// Charts as SVG text: scales and lines by d3, no browser needed to draw them and no script to show them.
import { scaleBand, scaleLinear, scaleUtc } from 'd3-scale';
import { curveLinear, curveStepAfter, line } from 'd3-shape';
import { html, type Markup } from './markup.ts';

export interface Line {
  readonly name: string;
  readonly points: readonly { readonly at: string; readonly value: number | null }[];
  /** Drawn thin and dashed: a bound beside the line of the same colour. */
  readonly bound?: boolean;
}

/** What stands under the time axis as coloured stretches: one row per name. */
export interface Band {
  readonly name: string;
  readonly stretches: readonly { readonly from: string; readonly to: string; readonly kind: string }[];
}

export interface TimeChart {
  readonly title: string;
  /** What the numbers are, with their unit. */
  readonly measure: string;
  readonly lines: readonly Line[];
  readonly format: (value: number) => string;
  readonly steps?: boolean;
  /** Top of the scale where it is known; the greatest value otherwise. */
  readonly top?: number;
  readonly bands?: readonly Band[];
  readonly none: string;
}

const width = 600;
const plotHeight = 210;
const edge = { left: 66, right: 30, top: 12, bottom: 30 };
const bandHeight = 16;
/** More points than these are a line that needs no dots. */
const dotted = 40;
/** Different colours there are in style.ts. */
const colours = 8;

export function timeChart(chart: TimeChart): Markup {
  const times = chart.lines.flatMap((one) => one.points.map((point) => Date.parse(point.at)));
  const values = chart.lines.flatMap((one) => one.points.flatMap((point) => point.value ?? []));
  if (values.length === 0) return figure(chart.title, html`<p class="none">${chart.none}</p>`);
  const [from, to] = extent([
    ...times,
    ...(chart.bands ?? []).flatMap((band) =>
      band.stretches.flatMap((one) => [Date.parse(one.from), Date.parse(one.to)]),
    ),
  ]);
  const x = scaleUtc([from, to], [edge.left, width - edge.right]);
  const highest = chart.top ?? Math.max(...values);
  const scale = scaleLinear([0, highest > 0 ? highest : 1], [edge.top + plotHeight, edge.top]);
  const y = chart.top === undefined ? scale.nice(5) : scale;
  const bottom = edge.top + plotHeight;
  const bands = chart.bands ?? [];
  const height = bottom + edge.bottom + bands.length * (bandHeight + 4);
  const draw = line<Line['points'][number]>(
    (point) => round(x(Date.parse(point.at))),
    (point) => round(y(point.value ?? 0)),
  )
    .defined((point) => point.value !== null)
    .curve(chart.steps ? curveStepAfter : curveLinear);
  const dots = (one: Line, colour: string) =>
    !one.bound && one.points.length <= dotted
      ? one.points.flatMap((point) =>
          point.value === null
            ? []
            : html`<circle
                class="${colour}"
                cx="${round(x(Date.parse(point.at)))}"
                cy="${round(y(point.value))}"
                r="2.5"
                ><title>${one.name}: ${chart.format(point.value)} at ${point.at}</title></circle
              > `,
        )
      : [];
  const colourOf = colouring(chart.lines.map((one) => one.name));
  return figure(
    chart.title,
    html`${legend(chart.lines.map((one) => ({ name: one.name, kind: `${colourOf(one.name)}${one.bound ? ' bound' : ''}` })))}<svg
        viewBox="0 0 ${width} ${height}"
        role="img"
        aria-label="${chart.title}: ${chart.measure} over time"
      >
        ${y.ticks(5).map((tick) => html`<g class="grid"><line x1="${edge.left}" x2="${width - edge.right}" y1="${round(y(tick))}" y2="${round(y(tick))}"></line><text x="${edge.left - 8}" y="${round(y(tick)) + 4}" text-anchor="end">${chart.format(tick)}</text></g> `)}
        ${ticksOf(x.ticks(4), from, to).map(([tick, label]) => html`<g class="axis"><line x1="${round(x(tick))}" x2="${round(x(tick))}" y1="${bottom}" y2="${bottom + 5}"></line><text x="${round(x(tick))}" y="${bottom + 18}" text-anchor="middle">${label}</text></g> `)}
        ${chart.lines.map((one) => html`<path class="line ${colourOf(one.name)}${one.bound ? ' bound' : ''}" d="${draw(one.points) ?? ''}"><title>${one.name}</title></path> ${dots(one, colourOf(one.name))}`)}
        ${bands.map((band, row) => {
          const top = bottom + edge.bottom + row * (bandHeight + 4);
          return band.stretches.map((one) => {
            const left = x(Date.parse(one.from));
            return html`<rect
              class="band ${kindClass(one.kind)}"
              x="${round(left)}"
              y="${top}"
              width="${round(Math.max(2, x(Date.parse(one.to)) - left))}"
              height="${bandHeight}"
              ><title>${band.name}: ${one.kind} from ${one.from} to ${one.to}</title></rect
            > `;
          });
        })}</svg
      >${bands.length > 0 && legend([...new Set(bands.flatMap((band) => band.stretches.map((one) => one.kind)))].map((kind) => ({ name: kind.replaceAll('_', ' '), kind: kindClass(kind) })))}`,
    `${chart.measure}; times in UTC, from ${iso(from)} to ${iso(to)}`,
  );
}

export interface Bar {
  readonly name: string;
  readonly parts: readonly { readonly kind: string; readonly value: number }[];
}

/** Horizontal bars of parts that add up. */
export function barChart(chart: {
  readonly title: string;
  readonly measure: string;
  readonly bars: readonly Bar[];
  readonly format: (value: number) => string;
  readonly none: string;
}): Markup {
  const totals = chart.bars.map((bar) => bar.parts.reduce((all, part) => all + part.value, 0));
  if (Math.max(0, ...totals) === 0) return figure(chart.title, html`<p class="none">${chart.none}</p>`);
  const height = chart.bars.length * 26 + 8;
  const names = 250;
  const x = scaleLinear([0, Math.max(...totals)], [names, width - 70]);
  const y = scaleBand(chart.bars.keys(), [4, height - 4]).padding(0.25);
  const kinds = [...new Set(chart.bars.flatMap((bar) => bar.parts.map((part) => part.kind)))];
  const colourOf = colouring(kinds);
  const bars = chart.bars.map((bar, i) => {
    const top = round(y(i)!);
    let before = 0;
    const parts = bar.parts.map((part) => {
      const left = x(before);
      before += part.value;
      return html`<rect
        class="bar ${colourOf(part.kind)}"
        x="${round(left)}"
        y="${top}"
        width="${round(x(before) - left)}"
        height="${round(y.bandwidth())}"
        ><title>${bar.name}, ${part.kind}: ${chart.format(part.value)}</title></rect
      >`;
    });
    const middle = top + y.bandwidth() / 2 + 4;
    return html`<g
      ><text x="${names - 8}" y="${round(middle)}" text-anchor="end">${shortened(bar.name)}</text>${parts}<text
        x="${round(x(before) + 6)}"
        y="${round(middle)}"
        >${chart.format(before)}</text
      ></g
    > `;
  });
  return figure(
    chart.title,
    html`${kinds.length > 1 && legend(kinds.map((kind) => ({ name: kind, kind: colourOf(kind) })))}<svg
        viewBox="0 0 ${width} ${height}"
        role="img"
        aria-label="${chart.title}: ${chart.measure}"
      >
        ${bars}
      </svg>`,
    chart.measure,
  );
}

const figure = (title: string, body: Markup, caption = ''): Markup =>
  html`<figure>
    <h3>${title}</h3>
    ${body}${caption !== '' && html`<figcaption>${caption}</figcaption>`}
  </figure> `;

const legend = (entries: readonly { readonly name: string; readonly kind: string }[]): Markup =>
  html`<p class="legend">${entries.map((one) => html`<span><i class="${one.kind}"></i>${one.name}</span> `)}</p>`;

/** A bound has the colour of the line it belongs to: names are the same up to a comma. */
function colouring(names: readonly string[]): (name: string) => string {
  const base = (name: string) => name.split(',', 1)[0]!;
  const known = [...new Set(names.map(base))];
  return (name) => `c${known.indexOf(base(name)) % colours}`;
}

const kinds = new Set(['old', 'dual_write', 'new_system']);
const kindClass = (kind: string): string => (kinds.has(kind) ? `k-${kind}` : 'k-other');

/** A moment alone is given a second, so that it has a place on the axis. */
function extent(times: readonly number[]): [number, number] {
  let [from, to] = [Infinity, -Infinity];
  for (const time of times) [from, to] = [Math.min(from, time), Math.max(to, time)];
  return to > from ? [from, to] : [from - 500, to + 500];
}

const day = 86_400_000;
function ticksOf(ticks: readonly Date[], from: number, to: number): (readonly [Date, string])[] {
  const [begin, end] =
    to - from > 3 * day ? [5, 10] : to - from > day ? [5, 16] : to - from > 600_000 ? [11, 16] : [11, 19];
  const fine = to - from < 6000;
  return ticks.map((tick) => [
    tick,
    tick
      .toISOString()
      .slice(begin, fine ? 21 : end)
      .replace('T', ' '),
  ]);
}

const iso = (time: number): string => new Date(time).toISOString().replace(/\.\d+Z$/, 'Z');
const round = (value: number): number => Math.round(value * 10) / 10;
const shortened = (name: string): string => (name.length > 38 ? `${name.slice(0, 37)}…` : name);
