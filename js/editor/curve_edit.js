// Edits of a curve: each takes a curve and gives a new one, or null where it is not possible. No page, no host.
import { heightOf } from "../schedule/curve.js"

// The least distance in progress between two points: closer ones could not be told apart by hand.
export const GAP = 0.001
const DIGITS = 4 // enough for a curve drawn by hand, and short in a file

const tidy = (number) => Number(Math.min(Math.max(number, 0), 1).toFixed(DIGITS))

/**
 * A point more, at the height of the curve unless another is given.
 * @param {{points: number[][], interpolation: string}} curve
 * @param {number} x progress
 * @param {number} [y] height
 * @returns {?{curve: object, index: number}} null where there is no room between the neighbours
 */
export function addPoint(curve, x, y = heightOf(curve)(x)) {
  const place = tidy(x)
  if (curve.points.some(([other]) => Math.abs(other - place) < GAP)) return null
  const index = curve.points.filter(([other]) => other < place).length
  return { curve: { ...curve, points: curve.points.toSpliced(index, 0, [place, tidy(y)]) }, index }
}

/** Point `index` moved to (x, y), as far as its neighbours allow. */
export function movePoint(curve, index, x, y) {
  const low = index > 0 ? curve.points[index - 1][0] + GAP : 0
  const high = index < curve.points.length - 1 ? curve.points[index + 1][0] - GAP : 1
  // Neighbours from a file may leave no room at all: then the point keeps its progress.
  const place = low <= high ? tidy(Math.min(Math.max(x, low), high)) : curve.points[index][0]
  return { ...curve, points: curve.points.with(index, [place, tidy(y)]) }
}

/** The curve without point `index`; null for one of the last two. */
export function deletePoint(curve, index) {
  return curve.points.length > 2 ? { ...curve, points: curve.points.toSpliced(index, 1) } : null
}

/** A context that an edit may set. */
export const tidyContext = tidy
