// The look of the wipe; its colours are those of a run's feedback (style.js), inside which it stands.
import { dress } from "../widgets/dress.js"

const CSS = `
.safelight-wipe { display: flex; flex-direction: column; gap: 6px; min-width: 0; }
.safelight-wipe [hidden] { display: none; }
.safelight-wipe-frame { position: relative; overflow: hidden; border-radius: 5px; background: var(--sl-line);
  touch-action: none; user-select: none; -webkit-user-select: none; --sl-at: 50%; }
.safelight-wipe-frame img { display: block; width: 100%; }
.safelight-wipe-frame img + img { position: absolute; inset: 0; height: 100%; }
.safelight-wipe-when { display: block; width: 100%; border-radius: 3px; }
.safelight-wipe-before { clip-path: inset(0 calc(100% - var(--sl-at)) 0 0); }
.safelight-wipe-label { position: absolute; top: 6px; padding: 1px 7px; border-radius: 9px; background: rgb(0 0 0 / .55);
  color: #fff; pointer-events: none; }
.safelight-wipe-before-label { left: 6px; }
.safelight-wipe-after-label { right: 6px; }
.safelight-wipe-handle { position: absolute; top: 0; bottom: 0; left: var(--sl-at); width: 32px; margin-left: -16px;
  cursor: ew-resize; outline: none; }
.safelight-wipe-handle::before { content: ""; position: absolute; top: 0; bottom: 0; left: 15px; width: 2px;
  background: #fff; box-shadow: 0 0 4px rgb(0 0 0 / .6); }
.safelight-wipe-handle::after { content: "‹ ›"; position: absolute; top: 50%; left: 4px; width: 24px; height: 24px;
  margin-top: -12px; border-radius: 50%; background: #fff; color: #333; font: 700 12px/22px system-ui, sans-serif;
  text-align: center; box-shadow: 0 1px 5px rgb(0 0 0 / .5); }
.safelight-wipe-handle:focus-visible::after { outline: 3px solid var(--sl-accent); outline-offset: 1px; }
.safelight-wipe-bar { display: flex; align-items: center; justify-content: space-between; gap: 8px; }
.safelight-wipe-batch { display: flex; align-items: center; gap: 6px; margin-left: auto; }
.safelight-wipe-button { min-width: 24px; padding: 2px 9px; border: 1px solid var(--sl-line); border-radius: 10px;
  background: transparent; color: var(--sl-ink); font: inherit; cursor: pointer; }
.safelight-wipe-button:hover { border-color: var(--sl-ink); }
.safelight-wipe-button[aria-pressed="true"] { border-color: var(--sl-accent);
  background: color-mix(in srgb, var(--sl-accent) 30%, transparent); }
.safelight-wipe-button:focus-visible { outline: 2px solid var(--sl-accent); outline-offset: 1px; }
.safelight-wipe[data-gone] .safelight-wipe-frame, .safelight-wipe[data-gone] .safelight-wipe-when, .safelight-wipe[data-gone] .safelight-wipe-bar { display: none; }
`

/** Puts the style sheet into the document, once. */
export const dressWipe = () => dress("safelight-wipe-style", CSS)
