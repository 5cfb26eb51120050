// The look of a run's feedback: the host's theme, and the editor's amber (editor/style.js).
import { dress } from "../widgets/dress.js"

const CSS = `
.safelight-feedback {
  --sl-ink: var(--input-text, #ddd);
  --sl-faint: color-mix(in srgb, var(--sl-ink) 70%, var(--sl-ground));
  --sl-ground: color-mix(in srgb, var(--comfy-input-bg, #222) 50%, var(--comfy-menu-bg, #353535));
  --sl-line: var(--border-color, #4e4e4e);
  --sl-accent: color-mix(in srgb, #e0702f 82%, var(--sl-ink));
  box-sizing: border-box; width: 100%; height: max-content; display: flex; flex-direction: column; gap: 5px;
  padding: 6px 9px 7px; border: 1px solid var(--sl-line); border-radius: 6px; background: var(--sl-ground);
  color: var(--sl-ink); font: 11px/1.4 system-ui, sans-serif; text-align: left; overflow-wrap: anywhere;
  user-select: text; -webkit-user-select: text; font-variant-numeric: tabular-nums;
}
.safelight-feedback * { box-sizing: border-box; }
.safelight-feedback > *, .safelight-run-body > * { flex: none; }
.safelight-run-body { display: flex; flex-direction: column; gap: 5px; min-width: 0; }
.safelight-run-row { display: flex; flex-wrap: wrap; align-items: center; gap: 1px 7px; min-width: 0; }
.safelight-run-head { font-weight: 600; justify-content: space-between; }
.safelight-run-name { flex: none; min-width: 28px; color: var(--sl-faint); }
.safelight-run-end { color: var(--sl-faint); font-weight: 400; }
.safelight-run-plot { position: relative; height: 52px; overflow: hidden; border-bottom: 1px solid var(--sl-line);
  background: linear-gradient(color-mix(in srgb, var(--sl-line) 60%, transparent) 0 1px, transparent 1px) 0 0 / 100% 50%; }
.safelight-run-settles { position: absolute; left: 0; top: 0; bottom: 0; background: var(--sl-ink); opacity: .09; }
.safelight-run-stroke { position: absolute; bottom: 0; width: 3px; margin-left: -1.5px; min-height: 2px;
  border-radius: 1.5px 1.5px 0 0; background: var(--sl-accent); }
.safelight-run-stroke[data-idle] { background: var(--sl-faint); }
.safelight-run-axis { position: relative; display: flex; justify-content: space-between; margin-top: -2px;
  color: var(--sl-faint); font-size: 10px; }
.safelight-run-axis span:nth-child(2) { position: absolute; transform: translateX(-50%); }
.safelight-run-bar { position: relative; flex: 1 1 44px; height: 6px; border-radius: 3px;
  background: color-mix(in srgb, var(--sl-ink) 18%, transparent); }
.safelight-run-bar i { position: absolute; left: 0; top: 0; bottom: 0; border-radius: 3px; background: var(--sl-accent); }
.safelight-run-bar b { position: absolute; top: -2px; bottom: -2px; width: 2px; margin-left: -1px;
  background: var(--sl-ink); }
.safelight-run-prompt { max-height: 82px; overflow: auto; white-space: pre-wrap; }
.safelight-feedback mark { padding: 0 2px; border-radius: 3px; color: inherit;
  background: color-mix(in srgb, var(--sl-accent) 45%, transparent); }
.safelight-run-safe mark { background: color-mix(in srgb, #3f9a5f 45%, transparent); }
.safelight-run-note { color: var(--sl-faint); white-space: pre-line; }
.safelight-run-fault { color: color-mix(in srgb, var(--error-text, #ff4444) 75%, var(--sl-ink)); }
.safelight-run-stale-line { display: none; font-weight: 600; }
.safelight-feedback[data-stale] .safelight-run-stale-line { display: block; }
.safelight-feedback[data-stale]:not([data-live]) .safelight-run-body > :not(.safelight-wipe, .safelight-frames) { opacity: .45; filter: grayscale(1); }
.safelight-feedback[data-live] > .safelight-run-stale-line,
.safelight-feedback[data-live="alone"] > .safelight-run-body:not(.safelight-run-live),
.safelight-feedback[data-live] > .safelight-run-body:not(.safelight-run-live) > :not(.safelight-wipe) { display: none; }
.safelight-run-live > .safelight-run-head ~ .safelight-run-row > :not(.safelight-run-name) { visibility: hidden; }
.safelight-run-details summary { width: max-content; color: var(--sl-faint); cursor: pointer; }
.safelight-run-details > :not(summary) { margin-top: 5px; }
`

/** Puts the style sheet into the document, once. */
export const dressFeedback = () => dress("safelight-feedback-style", CSS)
