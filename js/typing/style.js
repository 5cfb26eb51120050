// The look of the view under a prompt: that of a run's feedback, with words that can be pressed.
import { dress } from "../widgets/dress.js"

const CSS = `
.safelight-typing-body { display: flex; flex-direction: column; gap: 5px; min-width: 0; }
.safelight-typing-body > * { flex: none; }
.safelight-typing-word { cursor: pointer; text-decoration: underline dotted; text-underline-offset: 2px; }
.safelight-typing-word:hover { background: color-mix(in srgb, var(--sl-accent) 65%, transparent) !important; }
.safelight-typing-word:focus-visible { outline: 2px solid var(--p-primary-color, #3b82f6); outline-offset: 1px; }
.safelight-typing-word[data-kept] { background: none !important; box-shadow: inset 0 0 0 1px var(--sl-faint); }
.safelight-typing-own { display: flex; align-items: center; gap: 6px; }
.safelight-typing-own input { flex: 1; min-width: 40px; padding: 2px 5px; border: 1px solid var(--sl-faint); border-radius: 4px;
  background: var(--comfy-input-bg, #222); color: var(--sl-ink); font: inherit; }
.safelight-typing-own button { padding: 2px 8px; border: 1px solid var(--sl-faint); border-radius: 4px; background: none;
  color: var(--sl-ink); font: inherit; cursor: pointer; }
.safelight-typing-own :focus-visible { outline: 2px solid var(--p-primary-color, #3b82f6); outline-offset: 1px; }
.safelight-feedback .safelight-typing { padding: 0; border: 0; background: none; }
.safelight-feedback[data-typing]:not(:has(.safelight-wipe)) > :is(.safelight-run-stale-line, .safelight-run-body),
.safelight-feedback[data-typing] > .safelight-run-body > :is(.safelight-run-prompt, .safelight-run-name) { display: none; }
`

/** Puts the style sheet into the document. */
export const dressTyping = () => dress("safelight-typing-style", CSS)
