// The editor of a weight schedule as one element. It knows nothing of ComfyUI: what it needs comes by update(), what it
// does goes out by handlers.
import { AXES, CUSTOM, INTERPOLATIONS, EXPONENT, START_SHIFT, PRESETS, begins, heightOf, stepWeights, strength } from "../schedule/curve.js"
import { addPoint, deletePoint, movePoint, tidyContext } from "./curve_edit.js"
import { readCurve, scheduleFault, writeCurve } from "../schedule/curve_value.js"
import { createBar } from "./bar.js"
import { listenToClipboard, readClipboard, writeClipboard } from "./clipboard.js"
import { listenToPointers } from "./gestures.js"
import { listenToKeys } from "./keys.js"
import { openMenu } from "./menu.js"
import { createPlot } from "./plot.js"
import { installStyle } from "./style.js"
import { createTextPanel } from "./text.js"
import { percent, placeWords, runWords } from "./words.js"
import { say } from "../words.js"

const clamp = (p) => Math.min(Math.max(p, 0), 1)
const isShare = (number) => typeof number === "number" && number >= 0 && number <= 1

/**
 * What surrounds the curve, as the host tells it. null always means: it comes from a link and cannot be known here.
 * @typedef {object} Surroundings
 * @property {?string} preset "custom" draws the editor's own curve and context, any other its preset's
 * @property {?number} context progress before which the prompt as written steers alone
 * @property {?string} axis what progress means
 * @property {string[]} linked which of preset, context and curve come from a link, and cannot be edited
 * @property {unknown} [linkedCurve] the linked curve's value, undefined where it cannot be known
 * @property {?number} safety the linked sampler's slider; null too where there is no sampler
 * @property {?{starts: number[], guarded: number[], from: number, to: number}} steps of the linked sampler: progress at
 *   the start of each step of the whole run, what the guard counts in place of them, and which this run does
 */

/**
 * @param {object} handlers
 * @param {string} handlers.initial the curve shown at first, as JSON text
 * @param {(schedule: {preset: string, curve: string, context: number, axis?: string}) => void} handlers.edit
 *   called with each change by the artist, many times in a drag
 * @param {() => void} handlers.commit called when a gesture is over: one step of undo
 * @param {() => void} handlers.reset asks for the schedule that a new node has
 * @returns {{element: HTMLElement, getValue: () => string, setValue: (value: unknown) => void,
 *   update: (surroundings: Partial<Surroundings>) => void}}
 */
export function createCurveEditor(handlers) {
  installStyle()
  let own = readCurve(handlers.initial)
  let around = { preset: CUSTOM, context: 0.2, axis: AXES[0], linked: [], safety: null, steps: null }
  let selected = -1
  let pointed = null // the progress under the pointer
  let before = null // what a gesture has changed so far, as it was
  let view = null

  const box = (className) => {
    const made = document.createElement("div")
    made.className = className
    return made
  }
  const element = box("safelight-editor")
  const stage = box("safelight-plot")
  const note = box("safelight-note")
  const readOut = box("safelight-read")
  const quiet = box("safelight-quiet")
  quiet.setAttribute("role", "status")
  note.setAttribute("role", "alert")
  const announce = (text) => (quiet.textContent = text)
  const show = (text, isFault = false) => {
    if (readOut.textContent !== text) readOut.textContent = readOut.title = text
    if (readOut.classList.contains("fault") !== isFault) readOut.classList.toggle("fault")
  }
  const tell = (text) => {
    announce(text)
    show(text)
  }

  /** What the node will use: its curve and context, what is wrong or has to be said, what cannot be edited. */
  function schedule() {
    const { preset, context, linked } = around
    const isLinked = (name) => linked.includes(name)
    const none = { curve: null, context: null, fault: "", said: "", fixed: true, contextFixed: true }
    if (preset === null) return { ...none, said: say("editor.presetLinked") }
    const fixed = isLinked("curve") || (isLinked("preset") && preset !== CUSTOM)
    if (Object.hasOwn(PRESETS, preset)) {
      const said = isLinked("curve") ? say("editor.linkedWaits") : ""
      const contextFixed = fixed || isLinked("context")
      return { ...none, context: PRESETS[preset].context, curve: PRESETS[preset], said, fixed, contextFixed }
    }
    if (preset !== CUSTOM) return { ...none, fixed, fault: say("fault.preset", { name: JSON.stringify(preset) }) }
    const known = { ...none, context: isShare(context) ? context : null, fixed, contextFixed: isLinked("context") }
    if (isLinked("curve") && around.linkedCurve === undefined) return { ...known, said: say("editor.curveLinked") }
    const { curve, fault } = isLinked("curve") ? readCurve(around.linkedCurve) : own
    if (fault) return { ...known, fault }
    const said = isLinked("curve") ? say("editor.linkedCurve") : ""
    if (context === null) return { ...known, curve, said: said || say("editor.contextLinked") }
    if (known.context === null) return { ...known, curve, fault: say("fault.context") }
    return { ...known, curve, said, fault: scheduleFault({ ...curve, context }) }
  }

  function look() {
    const now = schedule()
    const { safety, axis, steps } = around
    const acts = now.curve && now.context !== null && !now.fault
    const act = { ...now.curve, context: now.context, startShift: START_SHIFT, exponent: EXPONENT }
    const from = acts ? begins(act, safety ?? 1) : now.context
    const run = acts && steps ? stepWeights(act, safety ?? 1, steps.starts, steps.guarded) : null
    return {
      ...now,
      fault: now.fault || (run?.fault ?? ""),
      height: now.curve && heightOf(now.curve),
      begins: from,
      used: run?.context ?? from,
      safety,
      strength: strength(act, safety ?? 1),
      axis,
      steps: run && !run.fault ? { ...steps, weights: run.weights } : null,
      selected
    }
  }

  function draw() {
    view = look()
    if (selected >= (view.curve?.points.length ?? 0)) selected = view.selected = -1
    bar.update(view.curve?.interpolation, view.fixed, !view.curve)
    if (element.classList.contains("fixed") !== view.fixed) element.classList.toggle("fixed")
    const text = view.curve ? "" : view.fault || view.said
    if (note.textContent !== text) note.textContent = text
    if (note.classList.contains("fault") !== Boolean(view.fault)) note.classList.toggle("fault")
    drawPointed()
  }

  function drawPointed() {
    const at = focusedProgress()
    plot.draw({ ...view, at })
    const fault = view.curve && view.fault
    const words = fault || (at === null && view.curve ? view.said || runWords(view) : placeWords(view, at))
    show(view.fault && !view.curve && !view.fixed ? say("editor.mend") : words, Boolean(fault))
  }

  const focusedProgress = () => {
    if (pointed !== null) return pointed
    const at = plot.focused()
    return typeof at === "number" ? (view.curve?.points[at]?.[0] ?? null) : null
  }

  /** An edit: the preset becomes custom, with what is given and, for the rest, what was shown. */
  function apply({ curve, context = view.context, axis }) {
    before ??= { preset: around.preset, curve: own.value, context: around.context }
    if (curve || around.preset !== CUSTOM) own = readCurve(bare(curve ?? view.curve))
    around = { ...around, preset: CUSTOM, context: context ?? around.context, axis: axis ?? around.axis }
    handlers.edit({ preset: CUSTOM, curve: own.value, context: around.context, axis })
    draw()
  }
  const bare = ({ points, interpolation }) => ({ points: points.map((pair) => [...pair]), interpolation })

  const actions = {
    state: () => ({ ...view, points: view.curve?.points ?? [], fixed: view.fixed || !view.curve }),
    point(p) {
      pointed = p === null ? null : clamp(p)
      drawPointed()
    },
    select(index) {
      selected = index
      draw()
      plot.focusPoint(index)
    },
    /** @returns {?number} the new point's index, null where there is no room */
    add(p, w) {
      const added = addPoint(view.curve, p, w)
      if (!added) return null
      apply({ curve: added.curve })
      actions.select(added.index)
      announce(say("editor.added", { number: added.index + 1, place: percent(added.curve.points[added.index][0]) }))
      return added.index
    },
    /** A point in the middle after point `index`; for the last one before it, for null in the middle of the run. */
    addAfter(index) {
      const { points } = view.curve
      const left = Math.min(index ?? Math.floor((points.length - 1) / 2), points.length - 2)
      if (actions.add((points[left][0] + points[left + 1][0]) / 2) === null) tell(say("editor.noRoom"))
    },
    /** @param {number} [at] the progress under the pointer, where it is a pointer that moves */
    move(index, p, w, at = null) {
      pointed = at === null ? null : clamp(at)
      apply({ curve: movePoint(view.curve, index, p, w) })
    },
    moveContext(p, at = null) {
      pointed = at === null ? null : clamp(at)
      apply({ context: tidyContext(p) })
    },
    remove(index) {
      const curve = deletePoint(view.curve, index)
      if (!curve) {
        return tell(say("editor.keepsTwo"))
      }
      apply({ curve })
      actions.select(Math.min(index, curve.points.length - 1))
      announce(say("editor.deleted", { number: index + 1 }))
    },
    interpolate(interpolation) {
      if (view.fixed || !view.curve) return
      apply({ curve: { ...view.curve, interpolation } })
      actions.commit()
      announce(say(`editor.${interpolation}`))
    },
    commit() {
      before = null
      handlers.commit()
    },
    revert() {
      if (!before) return
      own = readCurve(before.curve)
      around = { ...around, preset: before.preset, context: before.context }
      handlers.edit(before)
      before = null
      draw()
    },
    text() {
      if (!view.curve) return own.value
      const { points, interpolation } = view.curve
      return writeCurve({ points, interpolation, context: view.context, axis: around.axis })
    },
    async copy() {
      if (await writeClipboard(actions.text())) tell(say("editor.copied"))
      else panel.open(actions.text(), say("editor.copyHere"), false)
    },
    async paste() {
      const text = await readClipboard()
      const fault = text === null ? say("editor.pasteHere") : take(text)
      if (fault) panel.open(text ?? "", fault, true)
    },
    edit: () => panel.open(actions.text(), say("editor.text"), !view.fixed),
    reset() {
      if (view.fixed) return
      handlers.reset()
      actions.commit()
      announce(say("editor.wasReset"))
    },
    menu(at, target) {
      const { curve, fixed } = view
      const index = target.kind === "point" ? target.index : selected
      const place = target.kind === "key" ? undefined : target
      const none = fixed || !curve
      const add = () => {
        if (place) actions.add(place.p, place.kind === "curve" ? undefined : place.w)
        else actions.addAfter(selected < 0 ? null : selected)
        actions.commit()
      }
      const remove = () => {
        actions.remove(index)
        actions.commit()
      }
      openMenu(at, [
        { label: say("editor.add"), disabled: none || target.kind === "point", run: add },
        { label: say("editor.delete"), disabled: none || index < 0 || curve.points.length < 3, run: remove },
        null,
        ...INTERPOLATIONS.map((name) => ({
          label: say(`editor.${name}`),
          disabled: none,
          checked: curve?.interpolation === name,
          run: () => actions.interpolate(name)
        })),
        null,
        { label: say("editor.copy"), run: actions.copy },
        { label: say("editor.paste"), disabled: fixed, run: actions.paste },
        { label: say(fixed ? "editor.show" : "editor.edit"), run: actions.edit },
        { label: say("editor.reset"), disabled: fixed, run: actions.reset }
      ], plot.element)
    }
  }

  /** A schedule from text. Returns what is wrong with it, "" where it was taken. */
  function take(text) {
    if (view.fixed) return view.said || say("editor.fixed")
    const { read, curve, fault } = readCurve(text)
    if (fault) return fault
    apply({
      curve,
      context: view.contextFixed || !isShare(read.context) ? undefined : tidyContext(read.context),
      axis: AXES.includes(read.axis) ? read.axis : undefined
    })
    actions.commit()
    announce(say("editor.pasted"))
    return ""
  }

  const plot = createPlot()
  const bar = createBar(actions)
  const panel = createTextPanel(take, () => plot.element.focus({ preventScroll: true }))
  stage.append(plot.element, note)
  element.append(bar.element, stage, readOut, quiet, panel.element)
  listenToPointers(plot, actions)
  listenToKeys(plot, actions)
  listenToClipboard(element, {
    copy: () => {
      tell(say("editor.copied"))
      return actions.text()
    },
    paste: (text) => {
      const fault = take(text)
      if (fault) panel.open(text, fault, !view.fixed)
    }
  })
  element.addEventListener("focusin", () => {
    const at = plot.focused()
    if (typeof at === "number") selected = at
    draw()
  })
  element.addEventListener("focusout", () => view && drawPointed())
  draw()

  return {
    element,
    getValue: () => own.value,
    setValue(given) {
      if (given === undefined || given === null) return // an older workflow without this value
      const read = readCurve(given)
      if (read.value === own.value) return
      own = read
      draw()
    },
    update(surroundings) {
      around = { ...around, ...surroundings }
      draw()
    }
  }
}
