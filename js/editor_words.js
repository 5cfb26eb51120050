// What the editor says about a schedule, in the artist's words.

/** A share of the run: 0.215 is "21.5 %". */
export const percent = (p) => `${Number((p * 100).toFixed(1))} %`

/**
 * The line about one place on the run, "" where there is no curve.
 * @param {object} view see editor_plot.js
 * @param {?number} p progress in [0, 1]
 */
export function placeWords({ curve, height, context, used, safety, steps }, p) {
  if (!curve || p === null) return ""
  const words = [percent(p)]
  const step = steps ? steps.starts.findLastIndex((start) => start <= p) : -1
  if (step >= 0) words.push(`step ${step + 1} of ${steps.starts.length}`)
  const start = used ?? context
  const own = height(p)
  if (start !== null && p < start) words.push("as written alone (weight 0)")
  else if (safety === null) words.push(`weight ${own.toFixed(2)} × safety`)
  else if (safety === 1) words.push(`weight ${own.toFixed(2)}`)
  else words.push(`weight ${(safety * own).toFixed(2)} = ${own.toFixed(2)} × ${Number(safety.toFixed(2))}`)
  return words.join(" · ")
}

/** The line that stands there while nothing is pointed at. */
export function runWords({ curve, context, used, steps, safety }) {
  if (!curve || context === null) return ""
  if (!steps) return context > 0 ? `as written alone until ${percent(context)}` : "guided from the start"
  if (safety === 0) return "safety 0: nothing is guided"
  const own = steps.weights.slice(steps.from, steps.to)
  const guided = own.filter((weight) => weight > 0).length
  const lowered = used < context ? ` · context lowered to ${percent(used)}: so few steps` : ""
  return `${guided} of ${own.length} steps guided${lowered}`
}
