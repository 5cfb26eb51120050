// A run that goes on, drawn on its node: the weight of each call of the model as it comes. It knows nothing of ComfyUI.
import { make } from "../widgets/element.js"
import { levelText, plot, riskRow, row } from "./feedback.js"
import { say } from "../words.js"

const isUnit = (value) => typeof value === "number" && value >= 0 && value <= 1
const isCall = (call) => Array.isArray(call) && call.length === 2 && call.every(isUnit)

/**
 * A message of a run (safelight/engine/live.py), null for what is no such thing. Pure.
 * @param {unknown} message
 * @returns {null | {node: string, level: number, context: number|null, calls: {progress: number, weight: number}[]}}
 *   node: the ids that lead to it; level: the run's place on the slider
 */
export function readCalls(message) {
  const { node, level, context, calls } = message ?? {}
  const sound = typeof node === "string" && isUnit(level) && (context === null || isUnit(context)) && Array.isArray(calls) &&
    calls.length > 0 && calls.every(isCall)
  return sound ? { node, level, context, calls: calls.map(([progress, weight]) => ({ progress, weight })) } : null
}

/**
 * A run in a view's element, in the place of what the view shows, its picture aside. Meanwhile the element is at least as
 * high as before, and the lines that a report has below its plot stand there already: the node has its size from the
 * first stroke on.
 * @param {HTMLElement} element a view's
 * @param {boolean} unfolded whether the view shows all lines of a report
 * @returns {{show: (run: object) => void, end: () => void}} show: a message of the run, see readCalls
 */
export function createLive(element, unfolded) {
  const level = make("span", "safelight-run-end")
  const head = make("div", "safelight-run-row safelight-run-head", "", [make("span", "", say("feedback.sampling")), level])
  const plotted = make("div", "safelight-run-body")
  plotted.setAttribute("aria-live", "off") // many times a second
  const lines = unfolded ? [row(say("feedback.change")), riskRow(1, 0), row(say("feedback.work"))] : [] // names alone are seen
  const part = make("div", "safelight-run-body safelight-run-live", "", [head, plotted, ...lines])
  return {
    show(run) {
      level.textContent = levelText({ safety: run.level })
      plotted.replaceChildren(...plot(run))
      if (part.parentElement) return
      element.style.minHeight = `${element.offsetHeight}px`
      element.dataset.live = unfolded ? "alone" : "below"
      element.append(part)
    },
    end() {
      part.remove()
      delete element.dataset.live
      element.style.minHeight = ""
    }
  }
}
