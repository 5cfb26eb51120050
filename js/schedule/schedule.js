// The curve editor as a widget of a schedule node: what it shows is read from the node and the nodes that it serves,
// what it edits is written to the node's widgets. It knows nodes and widgets, not the application.
import { chain } from "../widgets/chain.js"
import { AXES, CUSTOM, PRESETS } from "./curve.js"
import { createCurveEditor } from "../editor/editor.js"
import { servedBy, sourceOf } from "./linked.js"
import { holdPlace } from "../widgets/place.js"
import { zoomThrough } from "../widgets/wheel.js"

const TYPE = "SAFELIGHT_CURVE"
const SIZE = { width: 280, height: 168 } // px: the plot stays legible
const LINKED = "curve_editor" // the input for a curve of the host's own
const OFTEN = 400 // ms

/**
 * Keeps a widget on the node while its input is linked; the page would hide it, and the artist could not see the curve
 * that acts. These are the two fields by which the page hides it, of frontends up to 1.57 and of newer ones.
 */
function stayShown(widget) {
  for (const field of ["computedDisabled", "connectionSuppressed"]) {
    Object.defineProperty(widget, field, { configurable: true, get: () => false, set: () => {} })
  }
}

/**
 * @param {object} page
 * @param {(run: object) => Promise<?object>} page.askSteps the server's answer for a run's settings, null for none
 * @param {() => void} page.edited an edit is over: one step of undo
 * @param {() => string} page.firstPreset what a new node starts with
 * @param {(event: WheelEvent) => void} page.zoom what the wheel does over the canvas
 * @returns {(node: object, name: string, spec: object[]) => object} makes the widget, as getCustomWidgets asks for
 */
export function createScheduleWidgets(page) {
  const shown = new Set() // the refreshers of all editors
  const answers = new Map() // by a run's settings: the steps, or null while they are asked for

  const stepsOf = (run) => {
    if (!run) return null
    const key = JSON.stringify(run)
    if (!answers.has(key)) {
      answers.set(key, null)
      page.askSteps(run).then((answer) => {
        answers.set(key, answer)
        shown.forEach((refresh) => refresh())
      })
    }
    return answers.get(key)
  }

  // No event tells of every way in which the value of some other node changes (typing, undo, another pack, a subgraph's
  // widget), so the few values are looked at again and again; nothing is drawn unless one of them is another.
  let timer = null
  const watch = (refresh) => {
    shown.add(refresh)
    timer ??= setInterval(() => shown.forEach((each) => each()), OFTEN)
  }
  const unwatch = (refresh) => {
    shown.delete(refresh)
    if (shown.size) return
    clearInterval(timer)
    timer = null
  }

  return (node, name, spec) => {
    const start = spec[1].default
    const put = (input, value) => {
      const { widget } = sourceOf(node, input)
      if (widget && JSON.stringify(widget.value) !== JSON.stringify(value)) widget.value = value
    }
    const editor = createCurveEditor({
      initial: start,
      edit({ preset, curve, context, axis }) {
        put(name, curve)
        put("context", context)
        put("preset", preset)
        if (axis !== undefined) put("axis", axis)
        node.setDirtyCanvas?.(true, true)
      },
      commit: page.edited,
      reset() {
        put(name, start)
        put("context", node.constructor.nodeData?.input?.required?.context?.[1]?.default ?? 0.2)
        put("preset", page.firstPreset())
        node.setDirtyCanvas?.(true, true)
        refresh()
      }
    })
    zoomThrough(editor.element, page.zoom)
    const widget = node.addDOMWidget(name, TYPE, editor.element, {
      getValue: editor.getValue,
      setValue: editor.setValue,
      getMinHeight: () => SIZE.height
    })
    stayShown(widget)

    let seen = null // the preset and the context of the last look
    /** The two agree: a preset chosen puts its context into the box, and a context typed there makes a curve of one's own. */
    const settle = () => {
      const [preset, context] = ["preset", "context"].map((input) => sourceOf(node, input))
      const own = Object.hasOwn(PRESETS, preset.value ?? "") ? PRESETS[preset.value] : null
      if (seen && own && !context.linked) {
        if (preset.value !== seen.preset) {
          put("context", own.context)
        } else if (context.value !== seen.context && context.value !== own.context && !preset.linked) {
          put(name, JSON.stringify({ points: own.points, interpolation: own.interpolation }))
          put("preset", CUSTOM)
        }
      }
      seen = Object.fromEntries(["preset", "context"].map((input) => [input, sourceOf(node, input).value]))
    }

    let last
    const refresh = () => {
      if (!node.graph) return // not in the workflow yet, or no more
      settle()
      const surroundings = look()
      const key = JSON.stringify(surroundings)
      if (key === last) return
      last = key
      editor.update(surroundings)
    }
    const look = () => {
      const [preset, context, axis, own, given] = ["preset", "context", "axis", name, LINKED].map((input) => sourceOf(node, input))
      if (own.widget && own.widget !== widget) editor.setValue(own.value) // shown on a subgraph's node, which holds it
      const curve = given.linked ? given : own
      const { safety, run } = servedBy(node)
      const steps = stepsOf(run)
      const by = AXES.includes(axis.value) ? axis.value : AXES[0]
      return {
        preset: preset.value ?? null,
        context: context.value ?? null,
        axis: axis.value ?? null,
        linked: Object.entries({ preset, context, axis, curve }).flatMap(([input, { linked }]) => (linked ? input : [])),
        linkedCurve: curve.linked ? curve.value : undefined,
        safety,
        steps: steps && { starts: steps.progress[by], guarded: steps.guarded[by], from: steps.from, to: steps.to }
      }
    }
    for (const input of ["preset", "context", "axis"]) {
      const own = node.widgets?.find((each) => each.name === input)
      if (own) chain(own, "callback", refresh)
    }
    chain(node, "onConfigure", () => {
      seen = null // a saved schedule stays as it was saved
      refresh()
    })
    chain(node, "onConnectionsChange", refresh)
    chain(node, "onAdded", () => {
      watch(refresh)
      requestAnimationFrame(refresh) // by then the page has given it its values
    })
    chain(node, "onRemoved", () => unwatch(refresh))
    holdPlace(node, name, editor.element)
    return { widget, minWidth: SIZE.width, minHeight: SIZE.height + 10 }
  }
}
