// How the report looks, on a screen, in the dark and on paper.
import { Markup } from './markup.ts';

export const style = new Markup(`
:root { color-scheme: light dark; --text: #1c2430; --soft: #5b6675; --edge: #d9dee5; --ground: #ffffff; --panel: #f5f7fa;
  --good: #1a7f4b; --open: #9a6200; --bad: #b3261e;
  --c0: #2f6fb2; --c1: #d9730d; --c2: #2a8a62; --c3: #a23b8f; --c4: #7a5cc9; --c5: #8a6d1d; --c6: #c2394b; --c7: #4c8fa3; }
@media (prefers-color-scheme: dark) { :root { --text: #e4e8ee; --soft: #9aa5b4; --edge: #36404d; --ground: #14181e; --panel: #1d232b;
  --good: #58c48d; --open: #e0a84a; --bad: #ff8a80;
  --c0: #6ea8e6; --c1: #f0a25a; --c2: #63c39a; --c3: #d98acb; --c4: #ab95ee; --c5: #ccb063; --c6: #ee8492; --c7: #87c1d3; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--text); font: 15px/1.5 system-ui, "Segoe UI", "Open Sans", Roboto, sans-serif; }
main { max-width: 1180px; margin: 0 auto; padding: 28px 24px 64px; }
h1 { font-size: 26px; line-height: 1.25; margin: 0 0 4px; }
h2 { font-size: 19px; margin: 44px 0 10px; padding-top: 14px; border-top: 1px solid var(--edge); }
h3 { font-size: 15px; margin: 18px 0 6px; }
p { margin: 6px 0; max-width: 90ch; }
.soft, figcaption, .none { color: var(--soft); }
.headline { max-width: none; font-size: 17px; margin: 14px 0; padding: 12px 16px; border-left: 5px solid var(--soft); background: var(--panel); border-radius: 3px; }
.headline.good { border-color: var(--good); } .headline.open { border-color: var(--open); } .headline.bad { border-color: var(--bad); }
dl.points { display: grid; grid-template-columns: repeat(auto-fill, minmax(340px, 1fr)); gap: 10px; margin: 14px 0; }
dl.points div { background: var(--panel); border-radius: 5px; padding: 10px 14px; border-left: 3px solid transparent; overflow-wrap: anywhere; }
dl.points dt { font-size: 13px; color: var(--soft); } dl.points dd { margin: 0; }
.good { border-color: var(--good) !important; } .open { border-color: var(--open) !important; } .bad { border-color: var(--bad) !important; }
.word { font-weight: 600; } .word.good { color: var(--good); } .word.open { color: var(--open); } .word.bad { color: var(--bad); }
ul.todo { margin: 8px 0; padding-left: 22px; max-width: 100ch; overflow-wrap: anywhere; }
nav { margin: 18px 0 0; font-size: 14px; } nav a { color: var(--c0); margin-right: 14px; text-decoration: none; display: inline-block; } nav a:hover { text-decoration: underline; }
.scroll { overflow-x: auto; margin: 8px 0; }
table { border-collapse: collapse; width: 100%; font-size: 14px; font-variant-numeric: tabular-nums; }
th { text-align: left; font-weight: 600; color: var(--soft); border-bottom: 2px solid var(--edge); padding: 5px 12px 5px 0; vertical-align: bottom; }
td { border-bottom: 1px solid var(--edge); padding: 5px 12px 5px 0; vertical-align: top; overflow-wrap: anywhere; min-width: 60px; }
th.n, td.n { text-align: right; white-space: nowrap; }
td time, .nowrap { white-space: nowrap; }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 520px), 1fr)); gap: 14px 32px; }
figure { margin: 0; } figcaption { font-size: 13px; }
svg { display: block; width: 100%; height: auto; } svg text { font-size: 12px; fill: var(--soft); }
.grid line { stroke: var(--edge); } .axis line { stroke: var(--soft); }
path.line { fill: none; stroke-width: 2; stroke-linejoin: round; } path.bound { stroke-width: 1.2; stroke-dasharray: 4 3; }
.legend { font-size: 13px; margin: 2px 0; } .legend span { margin-right: 14px; white-space: nowrap; }
.legend i { display: inline-block; width: 11px; height: 11px; margin-right: 5px; border-radius: 2px; } .legend i.bound { height: 4px; opacity: .6; vertical-align: middle; }
${[0, 1, 2, 3, 4, 5, 6, 7].map((i) => `path.c${i} { stroke: var(--c${i}); } circle.c${i}, rect.c${i} { fill: var(--c${i}); } i.c${i} { background: var(--c${i}); }`).join('\n')}
rect.k-old { fill: var(--c5); } rect.k-dual_write { fill: var(--c4); } rect.k-new_system { fill: var(--c2); } rect.k-other { fill: var(--soft); }
i.k-old { background: var(--c5); } i.k-dual_write { background: var(--c4); } i.k-new_system { background: var(--c2); } i.k-other { background: var(--soft); }
footer { margin-top: 48px; border-top: 1px solid var(--edge); padding-top: 10px; font-size: 13px; color: var(--soft); }
@media print { main { max-width: none; padding: 0; } nav { display: none; } figure, tr { break-inside: avoid; } .scroll { overflow: visible; } }
`);
