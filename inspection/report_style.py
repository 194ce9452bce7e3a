"""The report's style sheet: one column of figures that reads on a phone, on a screen at night and on paper."""

STYLE = """
:root {
  color-scheme: light dark;
  --page: #f6f7f9; --card: #ffffff; --ink: #1c2430; --soft: #5a6675; --line: #e0e4ea; --track: #edf0f4;
  --kept: #1f8a5f; --rejected: #c98516; --broken: #c0392f; --read: #77838f; --data: #3b6fb6;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #12151a; --card: #1a1e25; --ink: #e7eaee; --soft: #9ea9b6; --line: #2c323c; --track: #252b34;
    --kept: #45b987; --rejected: #dfa043; --broken: #e66a60; --read: #8b97a5; --data: #6f9fe0;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0; background: var(--page); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", "Noto Sans", "DejaVu Sans", sans-serif;
  overflow-wrap: break-word; -webkit-text-size-adjust: 100%;
}
main, header, footer { max-width: 1080px; margin: 0 auto; padding: 0 24px; }
header { padding-top: 36px; }
h1 { font-size: 28px; line-height: 1.2; margin: 0; letter-spacing: -0.01em; }
header p { margin: 6px 0 0; color: var(--soft); }
section {
  background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 20px 24px 22px; margin: 18px 0;
}
h2 { font-size: 17px; margin: 0 0 2px; }
section > p { margin: 0 0 14px; color: var(--soft); font-size: 13.5px; max-width: 92ch; }
section p.empty { margin: 8px 0 0; color: var(--soft); font-size: 13.5px; }
footer { padding-bottom: 40px; color: var(--soft); font-size: 13px; }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(380px, 1fr)); gap: 18px; margin: 18px 0; }
.pair > section { min-width: 0; margin: 0; }
.tiles { display: grid; grid-template-columns: repeat(3, 1fr); gap: 12px; margin: 22px 0 0; }
.tiles div { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 13px 16px; }
.tiles dt { color: var(--soft); font-size: 13px; }
.tiles dd { margin: 2px 0 0; font-size: 23px; font-weight: 600; line-height: 1.25; font-variant-numeric: tabular-nums; }
.tiles small { display: block; color: var(--soft); font-size: 12.5px; font-weight: 400; }
dl { margin: 0; }
table { width: 100%; border-collapse: collapse; font-size: 14px; }
th, td { padding: 5px 0 5px 16px; text-align: left; vertical-align: baseline; font-weight: 400; }
th:first-child, td:first-child { padding-left: 0; }
thead th { color: var(--soft); font-size: 12.5px; border-bottom: 1px solid var(--line); vertical-align: bottom; }
.rows tbody tr + tr > * { border-top: 1px solid var(--line); }
.n { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; overflow-wrap: normal; }
td.mono {
  font-family: ui-monospace, "SFMono-Regular", Menlo, Consolas, "DejaVu Sans Mono", monospace;
  font-size: 12.5px; overflow-wrap: anywhere; min-width: 11em;
}
.soft { color: var(--soft); }
.bars th { width: 34%; overflow-wrap: anywhere; }
.pair .bars th { width: 44%; }
.bars small { display: block; color: var(--soft); font-size: 12.5px; line-height: 1.35; }
.bars .b { vertical-align: middle; }
.bars .n { width: 1%; }
.bars .p { min-width: 5.6em; color: var(--soft); }
.track { display: block; height: 14px; border-radius: 3px; background: var(--track); overflow: hidden; }
.track i { display: block; height: 100%; min-width: 2px; border-radius: 3px; background: var(--data); }
.track i.none { min-width: 0; }
.read i { background: var(--read); } .kept i { background: var(--kept); }
.rejected i { background: var(--rejected); } .broken i { background: var(--broken); }
.read th, .kept th, .kept .n { font-weight: 600; }
.kept small, .read small, .kept .p { font-weight: 400; }
tr.kept > * { border-top: 1px solid var(--line); padding-top: 8px; }
.key { display: flex; flex-wrap: wrap; gap: 4px 18px; margin: 12px 0 0; padding: 0; }
.key li { list-style: none; color: var(--soft); font-size: 13px; }
.key i { display: inline-block; width: 11px; height: 11px; border-radius: 3px; margin-right: 6px; }
.columns {
  display: grid; grid-auto-flow: column; grid-auto-columns: minmax(0, 1fr); gap: 4px;
  margin: 10px 0 0; padding: 0; list-style: none;
}
.columns li {
  display: grid; grid-template-rows: 18px 170px 20px;
  text-align: center; font-size: 12px; font-variant-numeric: tabular-nums; overflow-wrap: normal;
}
.columns b { font-weight: 400; color: var(--soft); white-space: nowrap; }
.columns span { display: flex; align-items: flex-end; border-bottom: 1px solid var(--line); }
.columns i { flex: 1; background: var(--data); border-radius: 3px 3px 0 0; }
.columns em { font-style: normal; color: var(--soft); padding-top: 3px; }
details summary { cursor: pointer; color: var(--soft); font-size: 13.5px; margin-top: 10px; }
details[open] summary { margin-bottom: 8px; }
.wide { overflow-x: auto; }
details .wide { max-height: 430px; overflow-y: auto; }
@media (max-width: 600px) {
  main, header, footer { padding-left: 12px; padding-right: 12px; }
  header { padding-top: 22px; }
  section { padding: 16px 14px 18px; margin: 12px 0; }
  .pair { grid-template-columns: 1fr; gap: 12px; margin: 12px 0; }
  .tiles { grid-template-columns: 1fr 1fr; gap: 8px; margin-top: 16px; }
  .tiles div { padding: 10px 12px; } .tiles dd { font-size: 19px; }
  .bars, .bars tbody { display: block; }
  .bars thead { display: none; }
  .bars tr { display: grid; grid-template-columns: minmax(0, 1fr) auto 5.4em; align-items: baseline; padding: 5px 0; }
  .bars th, .pair .bars th, .bars td { padding: 0; width: auto; }
  .bars tr.kept > * { border-top: 0; padding-top: 0; }
  .bars .b { grid-column: 1 / -1; grid-row: 2; padding-top: 4px; width: 100%; }
  .bars .p, .bars .n { width: auto; min-width: 0; }
  .columns { gap: 2px; } .columns li { font-size: 10px; grid-template-rows: 16px 130px 20px; }
  .columns b { visibility: hidden; }
  th, td { padding-left: 10px; }
}
@media print {
  :root {
    --page: #fff; --card: #fff; --ink: #000; --soft: #444; --line: #ccc; --track: #eee;
    --kept: #1f8a5f; --rejected: #c98516; --broken: #c0392f; --read: #77838f; --data: #3b6fb6;
  }
  * { -webkit-print-color-adjust: exact; print-color-adjust: exact; }
  body { font-size: 11pt; }
  main, header, footer { max-width: none; padding: 0; }
  section { border: 0; border-top: 1px solid var(--line); border-radius: 0; padding: 12px 0; margin: 8px 0; }
  h2, section > p { break-after: avoid; }
  tr, .columns, .tiles div, .pair > section { break-inside: avoid; }
  details .wide { max-height: none; }
  details.printed::details-content { content-visibility: visible; block-size: auto; }
}
"""
