// The safety slider in words, as the README and the help pages state them: 0 off, .25 low, .5 medium, .75 high, 1 full.

export const LEVELS = ["off", "low", "medium", "high", "full"]

/** Where one word gives way to the next; off and full are exactly 0 and 1, since only these are bit-exact stock runs. */
const BORDERS = [["low", 0.375], ["medium", 0.625], ["high", 1]]

/** A level as it is written: 0, 0.50, 0.125. */
export const placeOf = (level) => (level === 0 ? "0" : String(level).length > 4 ? String(level) : level.toFixed(2))

/**
 * @param {unknown} safety the slider's value
 * @returns {"off"|"low"|"medium"|"high"|"full"|""} "" for what is no safety: nothing is guessed
 */
export function levelOf(safety) {
  if (typeof safety !== "number" || !(safety >= 0 && safety <= 1)) return ""
  if (safety === 0) return "off"
  return BORDERS.find(([, border]) => safety < border)?.[0] ?? "full"
}
