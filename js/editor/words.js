// What the editor says about a schedule, in the artist's words.
import { say } from "../words.js"

/** A share of the run: 0.215 is "21.5 %". */
export const percent = (p) => `${Number((p * 100).toFixed(1))} %`

/**
 * The line about one place on the run, "" where there is no curve.
 * @param {object} view see editor_plot.js
 * @param {?number} p progress in [0, 1]
 */
export function placeWords({ curve, height, context, used, safety, strength, steps }, p) {
  if (!curve || p === null) return ""
  const words = [percent(p)]
  const step = steps ? steps.starts.findLastIndex((start) => start <= p) : -1
  if (step >= 0) words.push(say("editor.stepOf", { number: step + 1, count: steps.starts.length }))
  const start = used ?? context
  const own = height(p)
  const weight = own.toFixed(2)
  if (start !== null && p < start) words.push(say("editor.alone"))
  else if (safety === null) words.push(say("editor.weightTimes", { weight }))
  else if (safety === 1) words.push(say("editor.weightIs", { weight }))
  else {
    const product = (strength * own).toFixed(2)
    words.push(say("editor.weightProduct", { product, weight, safety: Number(safety.toFixed(2)) }))
  }
  return words.join(" · ")
}

/** The line that stands there while nothing is pointed at. */
export function runWords({ curve, begins, used, steps, safety }) {
  if (!curve || begins === null) return ""
  if (!steps) return begins > 0 ? say("editor.until", { place: percent(begins) }) : say("editor.fromStart")
  if (safety === 0) return say("editor.off")
  const own = steps.weights.slice(steps.from, steps.to)
  const guided = own.filter((weight) => weight > 0).length
  const lowered = used < begins ? ` · ${say("editor.lowered", { place: percent(used) })}` : ""
  return say("editor.guided", { count: guided, all: own.length }) + lowered
}
