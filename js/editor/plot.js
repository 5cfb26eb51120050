// The picture of a weight schedule: an SVG that is drawn anew for every change, and says what lies under a pointer.
import { outline } from "../schedule/curve.js"
import { percent } from "./words.js"
import { say } from "../words.js"

const NAMESPACE = "http://www.w3.org/2000/svg"
const MARGIN = { left: 24, right: 10, top: 8, bottom: 21 } // px, room for the labels and half a handle
const HANDLE = 4.5 // px, radius of a point
// How far, in px, a pointer may be from what it means.
const REACH = { mouse: { point: 9, edge: 5, curve: 6 }, touch: { point: 20, edge: 14, curve: 12 } }

/** An SVG element with attributes. */
function shape(name, attributes = {}, ...children) {
  const made = document.createElementNS(NAMESPACE, name)
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value)
  made.append(...children)
  return made
}

const fixed = (number) => Number(number.toFixed(1))

/**
 * @returns the plot: `element`, `draw(view)`, `hit(event)`, `place(event)`, `focusPoint(index)`, `focusContext()`.
 *
 * A view is {curve, height, context, begins, used, safety, strength, axis, steps, selected, at, fixed, contextFixed}: the curve (null
 * where there is none) and its height as a function; the context set and the one that the run uses; the slider; the
 * axis's name; {starts, weights, from, to} or null; the selected point; the progress to mark, or null; what an artist
 * cannot move.
 */
export function createPlot() {
  const group = (name) => shape("path", { class: name })
  const parts = Object.fromEntries(
    ["grid", "frame", "area", "dim", "stems", "curve", "used", "ticks", "idle", "dots", "guide"].map((name) => [
      name,
      group(name)
    ])
  )
  const before = shape("rect", { class: "before" })
  const mark = shape("circle", { class: "mark", r: 3 })
  const contextLine = group("edge")
  const contextGrip = group("grip")
  const contextRing = shape("rect", { class: "ring", rx: 3, width: 14, height: 14 })
  const edge = { class: "context", role: "slider", "aria-label": say("editor.context") }
  const context = shape("g", edge, contextLine, contextRing, contextGrip)
  const points = shape("g", { class: "points" })
  const label = (anchor, text) => {
    const made = shape("text", { "text-anchor": anchor })
    made.textContent = text
    return made
  }
  const labels = {
    top: label("end", "1"), zero: label("end", "0"), weight: label("middle", say("editor.weight")),
    start: label("start", "0 %"), axis: label("middle", ""), end: label("end", "100 %"),
    before: label("start", say("editor.before")), used: label("start", "")
  }
  const element = shape(
    "svg",
    { role: "group", "aria-label": say("editor.plot"), tabindex: -1 },
    before, parts.grid, parts.area, parts.stems, parts.dim, parts.frame, parts.curve, parts.used, parts.ticks,
    ...Object.values(labels), parts.guide, context, parts.idle, parts.dots, mark, points
  )

  let size = { width: 260, height: 90 }
  let view = null
  const inner = () => ({
    width: Math.max(size.width - MARGIN.left - MARGIN.right, 1),
    height: Math.max(size.height - MARGIN.top - MARGIN.bottom, 1)
  })
  const toX = (p) => fixed(MARGIN.left + p * inner().width)
  const toY = (w) => fixed(MARGIN.top + (1 - w) * inner().height)
  const line = (pairs) => pairs.map(([p, w], i) => `${i ? "L" : "M"}${toX(p)} ${toY(w)}`).join("")
  // Only what changes: an attribute that is written, be it with the same value, makes the browser style the page anew.
  const put = (part, attributes) => {
    for (const [key, value] of Object.entries(attributes)) {
      if (part.getAttribute(key) !== String(value)) part.setAttribute(key, value)
    }
  }
  const set = (part, path) => put(part, { d: path })

  function drawFrame() {
    put(element, { viewBox: `0 0 ${size.width} ${size.height}` })
    const [left, right, top, bottom] = [toX(0), toX(1), toY(1), toY(0)]
    const across = [0.5, 1].map((w) => `M${left} ${toY(w)}H${right}`)
    const up = [0.25, 0.5, 0.75].map((p) => `M${toX(p)} ${top}V${bottom}`)
    set(parts.grid, [...across, ...up].join(""))
    set(parts.frame, `M${left} ${top}V${bottom}H${right}`)
    const foot = size.height - 4
    put(labels.top, { x: left - 8, y: top + 4 })
    put(labels.zero, { x: left - 8, y: bottom + 2 })
    put(labels.weight, {
      transform: `translate(13 ${toY(0.5)}) rotate(-90)`,
      visibility: inner().height > 54 ? "visible" : "hidden"
    })
    put(labels.start, { x: left, y: foot })
    put(labels.axis, { x: (left + right) / 2, y: foot })
    put(labels.end, { x: right, y: foot })
  }

  function drawContext() {
    const shown = view.context !== null
    put(context, { visibility: shown ? "visible" : "hidden" })
    put(before, { visibility: shown ? "visible" : "hidden" })
    put(labels.before, { visibility: shown && view.context * inner().width > 52 ? "visible" : "hidden" })
    if (!shown) return
    const x = toX(view.context)
    const [top, bottom] = [toY(1), toY(0)]
    put(before, { x: toX(0), y: top, width: Math.max(x - toX(0), 0), height: bottom - top })
    put(labels.before, { x: toX(0) + 4, y: bottom - 6 })
    set(contextLine, `M${x} ${top}V${bottom}`)
    set(contextGrip, `M${x} ${bottom}l5 5v4h-10v-4z`)
    put(contextRing, { x: x - 7, y: bottom - 2 })
    put(context, {
      tabindex: view.contextFixed ? -1 : 0,
      "aria-valuemin": 0, "aria-valuemax": 1, "aria-valuenow": view.context, "aria-disabled": Boolean(view.contextFixed),
      "aria-valuetext": say("editor.contextAt", { place: percent(view.context) })
    })
    set(parts.used, view.used === view.context ? "" : `M${toX(view.used)} ${top}V${bottom}`)
    drawUsed(top)
  }

  /** What the second line is: where this run begins to be steered, which the slider, or too few steps, decide. */
  function drawUsed(top) {
    const shown = view.used !== view.context && view.used < 1
    put(labels.used, { visibility: shown ? "visible" : "hidden" })
    if (!shown) return
    const later = view.used > view.context
    const text = later && view.safety !== null ? say("editor.begins", { safety: view.safety.toFixed(2) }) : say("editor.beginsSooner")
    if (labels.used.textContent !== text) labels.used.textContent = text
    const atRight = view.used > 0.6 // there is more room on its other side
    put(labels.used, { x: toX(view.used) + (atRight ? -4 : 4), y: top + 22, "text-anchor": atRight ? "end" : "start" })
  }

  function drawCurve() {
    const { curve, strength } = view
    const from = view.context ?? 0
    const used = Math.min(view.used ?? 0, 1)
    set(parts.dim, curve ? line(outline(curve, 0, from)) : "")
    set(parts.curve, curve ? line(outline(curve, from, 1)) : "")
    const acting = curve ? outline(curve, used, 1).map(([p, h]) => [p, h * strength]) : []
    set(parts.area, acting.length ? `${line([[used, 0], ...acting, [1, 0]])}Z` : "")
  }

  function drawSteps() {
    const { starts = [], weights = [], from = 0, to = 0 } = view.steps ?? {}
    const places = starts.map((p, i) => ({ x: toX(p), y: toY(weights[i]), own: i >= from && i < to }))
    const bottom = toY(0)
    set(parts.ticks, places.map(({ x }) => `M${x} ${bottom}v3.5`).join(""))
    set(parts.stems, places.map(({ x, y, own }) => (own && y < bottom ? `M${x} ${bottom}V${y}` : "")).join(""))
    // Zero-length lines with round ends: one path however many steps there are.
    const dots = (own) => places.filter((place) => place.own === own).map(({ x, y }) => `M${x} ${y}h0`).join("")
    set(parts.dots, dots(true))
    set(parts.idle, dots(false))
    put(parts.dots, { "stroke-width": starts.length > 60 ? 2 : 3.6 })
  }

  function drawPoints() {
    const pairs = view.curve?.points ?? []
    while (points.childElementCount > pairs.length) points.lastElementChild.remove()
    while (points.childElementCount < pairs.length) {
      const ring = shape("circle", { class: "ring", r: 8 })
      points.append(shape("g", { role: "slider" }, ring, shape("circle", { class: "handle", r: HANDLE })))
    }
    pairs.forEach(([x, y], i) => {
      put(points.children[i], {
        transform: `translate(${toX(x)} ${toY(y)})`,
        class: i === view.selected ? "selected" : "",
        tabindex: view.fixed ? -1 : 0,
        "aria-label": say("editor.point", { number: i + 1, count: pairs.length }),
        "aria-valuemin": 0, "aria-valuemax": 1, "aria-valuenow": y, "aria-disabled": Boolean(view.fixed),
        "aria-valuetext": say("editor.pointAt", { place: percent(x), weight: y.toFixed(2) })
      })
    })
  }

  function drawMark() {
    const shown = view.at !== null && view.curve
    put(mark, { visibility: shown ? "visible" : "hidden" })
    set(parts.guide, shown ? `M${toX(view.at)} ${toY(1)}V${toY(0)}` : "")
    if (shown) put(mark, { cx: toX(view.at), cy: toY(view.height(view.at)) })
  }

  const draw = (next) => {
    view = next
    const axis = view.axis ? say("editor.runBy", { axis: view.axis }) : say("editor.run")
    if (labels.axis.textContent !== axis) labels.axis.textContent = axis
    drawContext()
    drawCurve()
    drawSteps()
    drawPoints()
    drawMark()
  }

  /** What an event points at: progress and height (not clamped), and px of the plot. */
  const place = (event) => {
    const box = element.getBoundingClientRect() // scaled as the canvas is zoomed
    const x = ((event.clientX - box.left) / (box.width || 1)) * size.width
    const y = ((event.clientY - box.top) / (box.height || 1)) * size.height
    return { x, y, p: (x - MARGIN.left) / inner().width, w: 1 - (y - MARGIN.top) / inner().height }
  }

  /** @returns {{kind: "point"|"context"|"curve"|"empty", index?: number, p: number, w: number}} */
  const hit = (event) => {
    const { x, y, p, w } = place(event)
    const reach = REACH[event.pointerType === "touch" ? "touch" : "mouse"]
    const distances = (view.curve?.points ?? []).map(([px, pw]) => Math.hypot(toX(px) - x, toY(pw) - y))
    const nearest = distances.indexOf(Math.min(...distances))
    const edge = view.context === null ? Infinity : Math.abs(toX(view.context) - x)
    const onGrip = y > toY(0) + 1 && edge <= reach.edge + 5
    if (!onGrip && nearest >= 0 && distances[nearest] <= reach.point) return { kind: "point", index: nearest, p, w }
    if (onGrip || edge <= reach.edge) return { kind: "context", p, w }
    const onCurve = view.curve && p >= 0 && p <= 1 && Math.abs(toY(view.height(p)) - y) <= reach.curve
    return { kind: onCurve ? "curve" : "empty", p, w }
  }

  new ResizeObserver(() => {
    // clientWidth is in CSS px whatever the canvas zoom; 0 while the node is collapsed.
    if (!element.clientWidth || !element.clientHeight) return
    size = { width: element.clientWidth, height: element.clientHeight }
    drawFrame()
    if (view) draw(view)
  }).observe(element)
  drawFrame()

  return {
    element,
    draw,
    hit,
    place,
    focusPoint: (index) => points.children[index]?.focus({ preventScroll: true }),
    focusContext: () => context.focus({ preventScroll: true }),
    /** What has the focus: a point's index, "context", or null. */
    focused: () => {
      const active = document.activeElement
      if (active === context) return "context"
      const index = [...points.children].indexOf(active)
      return index < 0 ? null : index
    }
  }
}
