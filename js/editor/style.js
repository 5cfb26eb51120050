// The look of the curve editor. Every colour follows the host's theme; the accent is the amber of a darkroom's lamp.
import { dress } from "../widgets/dress.js"

const CSS = `
.safelight-editor, .safelight-menu {
  --sl-ink: var(--input-text, #ddd);
  --sl-faint: color-mix(in srgb, var(--sl-ink) 70%, var(--sl-ground));
  --sl-ground: color-mix(in srgb, var(--comfy-input-bg, #222) 50%, var(--comfy-menu-bg, #353535));
  --sl-line: var(--border-color, #4e4e4e);
  --sl-fault: color-mix(in srgb, var(--error-text, #ff4444) 75%, var(--sl-ink));
  --sl-focus: var(--p-primary-color, #3b82f6);
  --sl-accent: color-mix(in srgb, #e0702f 82%, var(--sl-ink)); /* stands out from light and dark grounds */
  font: 11px/1.25 system-ui, sans-serif;
  color: var(--sl-ink);
}
.safelight-editor {
  position: relative; box-sizing: border-box; display: flex; flex-direction: column;
  width: 100%; height: 100%; min-height: 140px; overflow: hidden; contain: layout paint style;
  background: var(--sl-ground); border: 1px solid var(--sl-line); border-radius: 6px;
  user-select: none; -webkit-user-select: none;
}
.safelight-editor [hidden] { display: none !important; }
.safelight-bar { display: flex; flex: none; align-items: center; gap: 1px; padding: 2px 3px 0; }
.safelight-bar .gap { flex: 1; }
.safelight-bar button, .safelight-text button {
  font: inherit; color: var(--sl-faint); background: none; border: 0; border-radius: 4px; cursor: pointer;
  min-width: 22px; height: 19px; padding: 0 3px; display: inline-flex; align-items: center; justify-content: center;
}
.safelight-bar svg { width: 14px; height: 14px; fill: none; stroke: currentColor; stroke-width: 1.4;
  stroke-linecap: round; stroke-linejoin: round; pointer-events: none; }
.safelight-bar button:hover:not(:disabled), .safelight-text button:hover { color: var(--sl-ink);
  background: color-mix(in srgb, var(--sl-ink) 14%, transparent); }
.safelight-bar button[aria-checked="true"] { color: var(--sl-ink);
  background: color-mix(in srgb, var(--sl-accent) 38%, transparent); }
.safelight-bar button:disabled { opacity: .35; cursor: default; }
.safelight-editor button:focus-visible, .safelight-text textarea:focus-visible {
  outline: 2px solid var(--sl-focus); outline-offset: -1px; }
.safelight-plot { position: relative; flex: 1; min-height: 0; }
.safelight-plot > svg { position: absolute; inset: 0; width: 100%; height: 100%; display: block; outline: none;
  touch-action: none; cursor: default; }
.safelight-plot .grid { stroke: var(--sl-line); stroke-opacity: .4; shape-rendering: crispEdges; fill: none; }
.safelight-plot .frame { stroke: var(--sl-faint); stroke-opacity: .7; shape-rendering: crispEdges; fill: none; }
.safelight-plot text { fill: var(--sl-faint); font-size: 9.5px; pointer-events: none; }
.safelight-plot .before { fill: var(--sl-ink); fill-opacity: .09; }
.safelight-plot .edge { stroke: var(--sl-ink); stroke-opacity: .75; stroke-dasharray: 3 2; fill: none; }
.safelight-plot .used { stroke: var(--sl-accent); stroke-dasharray: 1 2; fill: none; }
.safelight-plot .grip { fill: var(--sl-ink); stroke: var(--sl-ground); stroke-width: 1; }
.safelight-plot .area { fill: var(--sl-accent); fill-opacity: .2; }
.safelight-plot .dim { stroke: var(--sl-accent); stroke-opacity: .45; stroke-dasharray: 2 3; fill: none; }
.safelight-plot .curve { stroke: var(--sl-accent); stroke-width: 2; stroke-linejoin: round; fill: none; }
.safelight-plot .ticks { stroke: var(--sl-faint); fill: none; }
.safelight-plot .stems { stroke: var(--sl-ink); stroke-opacity: .2; fill: none; }
.safelight-plot .dots { stroke: var(--sl-ink); stroke-width: 3.6; stroke-linecap: round; fill: none; }
.safelight-plot .idle { stroke: var(--sl-faint); stroke-width: 2.6; stroke-opacity: .7; stroke-linecap: round; fill: none; }
.safelight-plot .guide { stroke: var(--sl-ink); stroke-opacity: .45; fill: none; pointer-events: none; }
.safelight-plot .mark { fill: var(--sl-ink); pointer-events: none; }
.safelight-plot g[role="slider"] { outline: none; cursor: grab; }
.safelight-plot .handle { fill: var(--sl-ground); stroke: var(--sl-accent); stroke-width: 2; }
.safelight-plot .selected .handle { fill: var(--sl-accent); stroke: var(--sl-ink); stroke-width: 1.5; }
.safelight-plot .ring { fill: none; stroke: none; stroke-width: 2; }
.safelight-plot g:focus-visible .ring { stroke: var(--sl-focus); }
.safelight-plot .context, .safelight-plot .over-context { cursor: ew-resize; }
.safelight-plot .over-curve { cursor: copy; }
.safelight-plot .dragging, .safelight-plot .dragging g { cursor: grabbing; }
.safelight-editor.fixed .handle { stroke: var(--sl-faint); }
.safelight-editor.fixed .curve { stroke-opacity: .75; }
.safelight-editor.fixed .points g { cursor: default; }
.safelight-note { position: absolute; left: 50%; top: 42%; transform: translate(-50%, -50%); width: max-content;
  max-width: 78%; max-height: 80%; padding: 4px 8px; overflow: hidden; text-align: center; pointer-events: none;
  background: var(--sl-ground); border: 1px solid var(--sl-line); border-radius: 4px; }
.safelight-note:empty { display: none; }
.safelight-note.fault { border-color: var(--sl-fault); }
.safelight-read.fault { color: var(--sl-fault); }
.safelight-read { flex: none; height: 16px; padding: 0 6px 2px; white-space: nowrap; overflow: hidden;
  text-overflow: ellipsis; font-variant-numeric: tabular-nums; }
.safelight-quiet { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
.safelight-text { position: absolute; inset: 0; display: flex; flex-direction: column; gap: 3px; padding: 5px;
  background: var(--sl-ground); }
.safelight-text textarea { flex: 1; min-height: 0; resize: none; box-sizing: border-box; padding: 4px; border-radius: 4px;
  font: 11px/1.35 ui-monospace, monospace; color: var(--sl-ink); background: var(--sl-ground);
  border: 1px solid var(--sl-line); user-select: text; -webkit-user-select: text; }
.safelight-text div { display: flex; align-items: center; gap: 4px; }
.safelight-text span { flex: 1; min-width: 0; white-space: nowrap; overflow: hidden; text-overflow: ellipsis; }
.safelight-text span.fault { color: var(--sl-fault); }
.safelight-text button { color: var(--sl-ink); border: 1px solid var(--sl-line); padding: 0 8px; }
.safelight-menu { position: fixed; z-index: 10000; min-width: 168px; padding: 4px; box-sizing: border-box;
  background: var(--comfy-menu-bg, #353535); border: 1px solid var(--sl-line); border-radius: 6px;
  box-shadow: 0 4px 14px rgb(0 0 0 / .4); font-size: 12px; }
.safelight-menu button { display: flex; width: 100%; gap: 8px; align-items: center; padding: 4px 8px 4px 6px; border: 0;
  border-radius: 4px; font: inherit; text-align: left; color: var(--sl-ink); background: none; cursor: pointer; }
.safelight-menu button::before { content: ""; width: 10px; flex: none; }
.safelight-menu button[aria-checked="true"]::before { content: "\\2713"; }
.safelight-menu button:disabled { opacity: .4; cursor: default; }
.safelight-menu button:focus { outline: none; background: color-mix(in srgb, var(--sl-ink) 16%, transparent); }
.safelight-menu hr { border: 0; border-top: 1px solid var(--sl-line); margin: 3px 4px; }
@media (prefers-reduced-motion: no-preference) {
  .safelight-bar button { transition: background-color .12s, color .12s; }
  .safelight-plot .handle { transition: fill .12s; }
}
`

/** Puts the style sheet into the page, once. */
export const installStyle = () => dress("safelight-style", CSS)
