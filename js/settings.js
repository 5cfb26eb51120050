// What can be set for Safelight as a whole, in the page's settings. The texts are also in locales/<language>/settings.json.
import { DEFAULT_PRESET, PRESETS } from "./schedule/curve.js"

export const PRESET = "Safelight.Schedule.DefaultPreset"
export const FEEDBACK = "Safelight.Feedback.Show"

/** @param {(shown: boolean) => void} onFeedback called when feedback is switched on or off; older pages store the value later */
export const settings = (onFeedback) => [
  {
    id: PRESET,
    category: ["Safelight", "Safelight", "Default preset"],
    name: "Default preset",
    tooltip: "What a new Safelight Weight Schedule starts with. Nodes of a saved workflow keep theirs.",
    type: "combo",
    options: Object.keys(PRESETS),
    defaultValue: DEFAULT_PRESET
  },
  {
    id: FEEDBACK,
    category: ["Safelight", "Safelight", "Show feedback"],
    name: "Show feedback",
    tooltip: "After a run, the sampler nodes show weights, risk, gate and cost, and Context Encode and Prompt show their verdict. While you type, they and Easy mark unsafe words.",
    type: "boolean",
    defaultValue: true,
    onChange: (shown, before) => before !== undefined && onFeedback(shown) // the page calls it once at the start, too
  }
]
