// The look of a strip's pictures; its colours are those of a run's feedback (style.js), inside which they stand.
import { dress } from "../widgets/dress.js"

const CSS = `
.safelight-frames { display: flex; flex-direction: column; gap: 6px; min-width: 0; }
.safelight-frames [hidden] { display: none; }
.safelight-frames > .safelight-wipe-button { align-self: flex-start; }
.safelight-frames-grid { display: grid; grid-template-columns: repeat(var(--sl-levels), minmax(0, 1fr)); gap: 5px; }
.safelight-frames-frame { display: flex; flex-direction: column; align-items: center; min-width: 0; padding: 2px 2px 3px;
  border: 2px solid transparent; border-radius: 6px; background: color-mix(in srgb, var(--sl-ink) 8%, transparent);
  color: var(--sl-ink); font: inherit; line-height: 1.35; cursor: pointer; }
.safelight-frames-frame:hover { border-color: var(--sl-line); }
.safelight-frames-frame[aria-pressed="true"] { border-color: var(--sl-ink); }
.safelight-frames-frame:focus-visible { outline: 2px solid var(--sl-accent); outline-offset: 1px; }
.safelight-frames-frame img { display: block; width: 100%; border-radius: 3px; margin-bottom: 2px; }
.safelight-frames-frame[data-here] .safelight-frames-level { font-weight: 700; }
.safelight-frames-frame[data-here] .safelight-frames-level::before { content: ""; display: inline-block; width: 8px;
  height: 8px; margin-right: 4px; border-radius: 50%; background: var(--sl-accent); }
.safelight-frames-found { max-width: 100%; overflow: hidden; text-overflow: ellipsis; white-space: nowrap;
  color: var(--sl-faint); font-size: 10px; }
.safelight-frames-enough { padding: 0 6px; border-radius: 8px; background: color-mix(in srgb, #3f9a5f 45%, transparent);
  font-size: 10px; }
.safelight-frames[data-gone] .safelight-frames-frame img { display: none; }
.safelight-frames[data-gone] .safelight-wipe { display: none; }
`

/** Puts the style sheet into the document. */
export const dressFrames = () => dress("safelight-frames-style", CSS)
