// Reading a curve from whatever a workflow, a link or an artist holds, and writing it as JSON text. No page, no host.
//
// The value to keep is JSON text: every converter of workflows takes it as it is. A broken one is passed on, so that Python
// refuses it: it must never act as some other curve.
import { INTERPOLATIONS, LEAST_WEIGHT, heightOf } from "./curve.js"
import { say } from "../words.js"

// What ComfyUI assumes of a curve that does not say how it is interpolated.
const HOST_INTERPOLATION = "monotone_cubic"

/**
 * Reads a curve value: JSON text of an object with points, of a list of pairs, or of either of them in the host's
 * wrappers ({__value__} or {__type__: "CURVE", __value__}); or, as earlier pages saved them, any of these itself.
 * @param {unknown} given
 * @returns {{value: string, read: unknown, fault: string, curve: ?{points: number[][], interpolation: string}}} the text
 *   to keep and send; what it says, without wrappers; what is wrong with it, "" if nothing is; the curve that it stands
 *   for, null where there is a fault
 */
export function readCurve(given) {
  const value = typeof given === "string" ? given : (JSON.stringify(given) ?? String(given))
  const broken = (fault, read = null) => ({ value, read, fault, curve: null })
  let read
  try {
    read = JSON.parse(value)
  } catch (error) {
    return broken(value.trim() ? say("fault.json", { why: error.message }) : say("fault.empty"))
  }
  while (isObject(read) && "__value__" in read) {
    if ((read.__type__ ?? "CURVE") !== "CURVE") return broken(say("fault.type"))
    read = read.__value__
  }
  if (Array.isArray(read)) read = { points: read }
  if (!isObject(read)) return broken(say("fault.form"))
  const fault = faultOf(read)
  if (fault) return broken(fault, read)
  const points = read.points.map(([x, y]) => [x, y]).sort((a, b) => a[0] - b[0])
  return { value, read, fault, curve: { points, interpolation: read.interpolation ?? HOST_INTERPOLATION } }
}

const isObject = (value) => value !== null && typeof value === "object" && !Array.isArray(value)
const isShare = (number) => typeof number === "number" && number >= 0 && number <= 1

/** What Python would refuse in an object that stands for a curve, "" if nothing. */
function faultOf({ points, interpolation }) {
  if (!Array.isArray(points) || points.length < 2) return say("fault.twoPoints")
  const wrong = points.findIndex((p) => !Array.isArray(p) || p.length !== 2 || !p.every(isShare))
  if (wrong >= 0) return say("fault.point", { number: wrong + 1 })
  const sorted = [...points].sort((a, b) => a[0] - b[0])
  const slope = ([x0, y0], [x1, y1]) => (y1 - y0) / (x1 - x0)
  const same = sorted.findIndex((point, i) => i > 0 && !Number.isFinite(slope(sorted[i - 1], point)))
  if (same > 0) return say("fault.same", { place: sorted[same][0] })
  if (interpolation !== undefined && !INTERPOLATIONS.includes(interpolation)) {
    return say("fault.interpolation", { name: JSON.stringify(interpolation), names: INTERPOLATIONS.join(", ") })
  }
  return ""
}

/**
 * What Python would refuse in a whole schedule: one that guards nothing.
 * @param {{points: number[][], interpolation: string, context: number}} schedule
 * @returns {string} "" if nothing
 */
export function scheduleFault({ points, interpolation, context }) {
  if (points.every(([, y]) => y < LEAST_WEIGHT)) return say("fault.zero")
  const acts = heightOf({ points, interpolation })(context) >= LEAST_WEIGHT || points.some(([x, y]) => x > context && y >= LEAST_WEIGHT)
  return acts ? "" : say("fault.zeroAfter")
}

/**
 * JSON text of a schedule to be read and corrected by hand: a line for each entry.
 * @param {object} schedule
 */
export function writeCurve(schedule) {
  const lines = Object.entries(schedule).map(([key, entry]) => `  ${JSON.stringify(key)}: ${JSON.stringify(entry)}`)
  return `{\n${lines.join(",\n")}\n}`
}
