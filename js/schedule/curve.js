// The weight schedule's maths, for drawing only: Python evaluates (safelight/guidance/schedule.py, safelight/progress.py), and
// tests/vectors holds both to the same numbers. No page, no host.
//
// A curve is {points: [[progress, height], ...], interpolation}: both numbers in [0, 1], sorted by progress, at least
// two points, no two at one progress. A schedule is a curve with `context`, the progress before which its weight is 0.
import { say } from "../words.js"

export const INTERPOLATIONS = ["linear", "monotone_cubic", "step"]
export const AXES = ["noise level", "steps"]
export const CUSTOM = "custom"
export const DEFAULT_PRESET = "balanced"

const FULL = [[0, 1], [1, 1]]

/** By how much later a schedule begins at safety 0 than at safety 1, as in safelight/guidance/schedule.py. */
export const START_SHIFT = 0.2

/** The slider's exponent: the weight where the curve is 1 is safety to this power; as in safelight/guidance/schedule.py. */
export const EXPONENT = 0.5

/** The schedules of every preset but `custom`, as in safelight/guidance/schedule.py. */
export const PRESETS = {
  gentle: { points: FULL, interpolation: "linear", context: 0.3 },
  balanced: { points: FULL, interpolation: "linear", context: 0.2 },
  strict: { points: FULL, interpolation: "linear", context: 0.14 },
  maximum: { points: FULL, interpolation: "linear", context: 0 },
  "ramp up": { points: [[0.2, 0.2], [1, 1]], interpolation: "linear", context: 0.2 },
  "ramp down": { points: [[0.2, 1], [1, 0.2]], interpolation: "linear", context: 0.2 },
  bell: { points: [[0.2, 0.2], [0.6, 1], [1, 0.2]], interpolation: "monotone_cubic", context: 0.2 }
}

/** Slopes of the monotone cubic at each point: Fritsch and Carlson, SIAM J. Numer. Anal. 17 (1980). */
function tangents(points) {
  const secants = points.slice(1).map(([x, y], i) => (y - points[i][1]) / (x - points[i][0]))
  const slopes = points.map((_, i) => {
    if (i === 0) return secants[0]
    if (i === secants.length) return secants[i - 1]
    return secants[i - 1] * secants[i] > 0 ? secants[i - 1] / 2 + secants[i] / 2 : 0
  })
  // Left to right: a segment sees its left tangent as the segment before it has left it.
  secants.forEach((secant, i) => {
    // No slope is divided by the secant, which may be too small for that.
    const radius = 3 * Math.abs(secant)
    const size = Math.hypot(slopes[i], slopes[i + 1])
    if (size > radius) {
      slopes[i] *= radius / size
      slopes[i + 1] *= radius / size
    }
  })
  return slopes
}

/**
 * The height of a curve as a function of progress; outside the points, the height of the nearest one.
 * @param {{points: number[][], interpolation: string}} curve
 * @returns {(progress: number) => number}
 */
export function heightOf({ points, interpolation }) {
  const slopes = interpolation === "monotone_cubic" ? tangents(points) : []
  const last = points.length - 1
  return (p) => {
    let i = last
    while (i >= 0 && points[i][0] > p) i--
    if (i < 0) return points[0][1]
    const [x0, y0] = points[i]
    if (interpolation === "step" || i === last) return y0
    const [x1, y1] = points[i + 1]
    const width = x1 - x0
    const t = (p - x0) / width
    let height
    if (interpolation === "linear") {
      height = y0 + t * (y1 - y0)
    } else {
      const t2 = t * t
      const t3 = t2 * t
      height =
        (2 * t3 - 3 * t2 + 1) * y0 +
        (t3 - 2 * t2 + t) * width * slopes[i] +
        (3 * t2 - 2 * t3) * y1 +
        (t3 - t2) * width * slopes[i + 1]
    }
    return Math.min(Math.max(height, 0), 1)
  }
}

const CUBIC_PARTS = 24

/**
 * The curve between two progresses as a line of [progress, height] pairs: exact, but for the parts of a cubic.
 * @param {{points: number[][], interpolation: string}} curve
 * @param {number} from
 * @param {number} to
 */
export function outline(curve, from, to) {
  const height = heightOf(curve)
  const line = [[from, height(from)]]
  const knots = [...curve.points.map(([x]) => x).filter((x) => x > from && x < to), to]
  for (const x of knots) {
    const [start, y] = line[line.length - 1]
    if (curve.interpolation === "step") line.push([x, y])
    if (curve.interpolation === "monotone_cubic") {
      for (let i = 1; i < CUBIC_PARTS; i++) {
        const p = start + ((x - start) * i) / CUBIC_PARTS
        line.push([p, height(p)])
      }
    }
    line.push([x, height(x)])
  }
  return line
}

/**
 * `context`, lowered where needed so that the last quarter of the run, by steps and by progress, lies behind it.
 * @param {number} context
 * @param {number[]} starts progress at the start of each step that the guard counts, not empty
 */
function guardedContext(context, starts) {
  const quarter = Math.ceil(starts.length / 4)
  const crossing = Math.max(...starts.filter((p) => p <= 0.75))
  return Math.min(context, Number.isFinite(crossing) ? crossing : context, ...starts.slice(-quarter))
}

/**
 * The progress from which on the safe prompt takes part at this place of the slider.
 * @param {{context: number, startShift?: number}} schedule
 * @param {number} safety
 */
export function begins({ context, startShift = 0 }, safety) {
  const shift = startShift * (1 - safety)
  return shift ? Math.min(Number((context + shift).toFixed(9)), 1) : context
}

export const LEAST_WEIGHT = 1 / 512 // less counts as none: safelight/guidance/blend.py

/**
 * The weight at this place of the slider where the curve is 1.
 * @param {{exponent?: number}} schedule
 * @param {number} safety
 */
export const strength = ({ exponent = 1 }, safety) => (safety > 0 ? safety ** exponent : 0)

/**
 * The weight that each step of a run gets.
 * @param {{points: number[][], interpolation: string, context: number, startShift?: number, exponent?: number}} schedule
 * @param {number} safety the slider, in [0, 1]
 * @param {number[]} starts progress at the start of each step of the whole run
 * @param {number[]} [counted] progress at the steps that the guard counts; these unless given
 * @returns {{weights: number[], context: number, fault: string}} a weight a step; the context that the run uses, which
 *   the guard may have lowered; and what is wrong, as Python would refuse it ("" if nothing is)
 */
export function stepWeights(schedule, safety, starts, counted = starts) {
  const height = heightOf(schedule)
  const weigh = (context) => (p) => (p >= context ? strength(schedule, safety) * height(p) : 0)
  let context = begins(schedule, safety)
  let fault = ""
  if (safety > 0 && counted.length) {
    context = guardedContext(context, counted)
    if (counted.map(weigh(context)).every((weight) => weight < LEAST_WEIGHT)) {
      const acting = counted.filter((p) => weigh(0)(p) >= LEAST_WEIGHT)
      if (acting.length) context = Math.max(...acting)
      else fault = say("fault.zeroSteps")
    }
  }
  return { weights: starts.map(weigh(context)), context, fault }
}
