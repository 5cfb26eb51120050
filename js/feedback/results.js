// Which node shows what from its last run, and whether that still is what its settings give. Free of the application.
import { createEasyView, createMapView, createNoteView, createReportView, createStripView, createVerdictView } from "./feedback.js"
import { createLive, readCalls } from "./live.js"
import { mount } from "../widgets/mount.js"
import { claimPictures, coverPictures, uncoverPictures } from "../widgets/own_pictures.js"
import { settingsBehind } from "./provenance.js"
import { createSliders } from "./sliders.js"
import { zoomThrough } from "../widgets/wheel.js"

const PICTURES = "safelight_pictures" // of a node that shows its pictures itself
/** By node type: the key in its `ui`, or several of which the view gets the texts as a JSON list; and the view. */
const SHOWN = {
  SafelightEasy: [[PICTURES, "safelight_report", "safelight_verdict"], createEasyView],
  SafelightKSampler: ["safelight_report", createReportView],
  SafelightKSamplerAdvanced: ["safelight_report", createReportView],
  SafelightSamplerCustom: ["safelight_report", createReportView],
  SafelightStrip: [["safelight_frames", "safelight_report"], createStripView],
  SafelightPrompt: ["safelight_verdict", createVerdictView],
  SafelightContextEncode: ["safelight_verdict", createVerdictView],
  SafelightEncoderRisk: ["safelight_note", createNoteView],
  SafelightSemanticSurgery: ["safelight_note", createNoteView],
  SafelightLatentGuard: ["safelight_note", createNoteView],
  SafelightLatentGuardRisk: ["safelight_note", createNoteView],
  SafelightMap: [[PICTURES, "safelight_note"], createMapView],
  SafelightLook: ["safelight_note", createNoteView],
  SafelightEditCheck: ["safelight_note", createNoteView]
}
const REMEMBERED = 64 // results whose settings are kept for when the page builds their nodes anew (undo, another tab)

const showsPictures = (node) => SHOWN[node.comfyClass]?.[0].includes(PICTURES)

/** An empty note is none; an empty report is a broken one. */
const saysNothing = (node, text) => text === "" && SHOWN[node.comfyClass][1] === createNoteView
/** The message of a node in its `ui`; undefined where a part of it is missing. */
function messageOf(node, output) {
  const [keys] = SHOWN[node.comfyClass]
  if (!Array.isArray(keys)) return output?.[keys]?.[0]
  const texts = keys.map((key) => output?.[key]?.[0])
  return texts.includes(undefined) ? undefined : JSON.stringify(texts)
}
const promptOf = (node) => String(node.widgets?.find((widget) => widget.name === "prompt")?.value ?? "")

/**
 * @param {() => Iterable<{node: object, path: string[], locator: string}>} placed every node of the workflow: the ids
 *   that lead to it, and its name in the page's outputs
 * @param {() => object} workflow the workflow as it would be saved now
 * @param {object} page
 * @param {(event: WheelEvent) => void} page.zoom what the wheel does over the canvas
 * @param {(file: object) => string} page.address of a picture on the server
 * @param {(act: () => void) => void} page.edited does what is one step of the page's history
 * @param {{giveWay: (node: object) => void, resulted: (node: object, element: ?HTMLElement, stale: boolean) => void}} page.typing
 *   what is shown of a prompt before it runs: told before a result comes, and of every result, or that there is none
 */
export function createResults(placed, workflow, { zoom, address, edited, typing }) {
  const showing = new WeakMap() // node to {view, mounted, live, text, path, run}; text: of a result, none before the first
  const runs = new Map() // path and text to {behind, prompt}: the settings it came from, the prompt that it is about

  let running = null // the node whose run is drawn while it goes on

  const places = () => [...placed()].filter(({ node }) => SHOWN[node.comfyClass])
  const placeOf = (executionId) => places().find(({ path }) => path.join(":") === executionId)
  const hasResult = (node) => showing.get(node)?.text !== undefined

  const hide = (node) => {
    if (showsPictures(node) && hasResult(node)) uncoverPictures(node)
    showing.get(node)?.mounted.remove()
    if (showing.delete(node)) typing.resulted(node, null, false)
    if (running === node) running = null
  }

  /** What stands on a node, made where nothing does. */
  const standing = (node) => {
    if (!showing.has(node)) {
      typing.giveWay(node)
      const view = SHOWN[node.comfyClass][1](address, createSliders(node, placed, edited))
      zoomThrough(view.element, zoom)
      showing.set(node, { view, mounted: mount(node, view.element), live: createLive(view.element, !showsPictures(node)) })
    }
    return showing.get(node)
  }

  /** No run goes on: its node shows again what it showed before. */
  const stop = () => {
    const node = running
    running = null
    if (!node) return
    const { mounted, live } = showing.get(node)
    if (hasResult(node)) mounted.change(live.end)
    else hide(node)
  }

  const judge = (node, now) => {
    if (!hasResult(node)) return
    const result = showing.get(node)
    const stale = settingsBehind(now, result.path) !== result.run.behind
    result.mounted.change(() => {
      result.view.setStale(stale)
      result.view.refresh?.()
      typing.resulted(node, result.view.element, stale)
    })
  }

  const show = ({ node, path }, text, now, run) => {
    const key = `${path.join(":")} ${text}`
    run ??= runs.get(key) ?? { behind: settingsBehind(now, path), prompt: promptOf(node) }
    runs.delete(key)
    runs.set(key, run)
    if (runs.size > REMEMBERED) runs.delete(runs.keys().next().value)
    if (showsPictures(node) && !hasResult(node)) coverPictures(node)
    const result = Object.assign(standing(node), { text, path, run })
    result.mounted.change(() => result.view.show(text, run.prompt))
    judge(node, now)
  }

  return {
    /** A node was made, whose results will be shown. */
    made: (node) => showsPictures(node) && claimPictures(node),
    /** A node has run. `ran`: what ran, {workflow, prompt}; until that is known it is taken for the present one. */
    arrived(executionId, output, ran) {
      const place = placeOf(executionId)
      const text = place && messageOf(place.node, output)
      if (text === undefined) return
      const { node, path } = place
      if (saysNothing(node, text)) return hide(node)
      if (running === node) {
        running = null
        showing.get(node).live.end()
      }
      const now = workflow()
      show(place, text, now, { behind: settingsBehind(now, path), prompt: promptOf(node) })
      ran.then((found) => {
        if (!found || showing.get(node)?.text !== text) return
        const { prompt } = found.prompt?.[executionId]?.inputs ?? {}
        const behind = settingsBehind(found.workflow, path)
        if (behind) show(place, text, workflow(), { behind, prompt: typeof prompt === "string" ? prompt : "" })
      })
    },
    /** A run goes on. `message`: its calls so far, see readCalls. */
    runs(message) {
      const run = readCalls(message)
      const node = run && placeOf(run.node)?.node
      if (!node) return
      const begins = node !== running
      if (begins) stop()
      running = node
      const { mounted, live } = standing(node)
      if (begins) mounted.change(() => live.show(run))
      else live.show(run)
    },
    /** Nothing runs any more, whether it came to its end or not. */
    stopped: stop,
    /**
     * A run found the answers of these nodes remembered, and sent no message of them. What a node showed when it ran with
     * the same settings is shown again, from the server's history, where nothing is shown yet.
     * @param {string[]} executionIds
     * @param {() => Promise<{outputs: object, workflow: object}[]>} history the runs that the server knows, in order
     */
    async remembered(executionIds, history) {
      const lacking = () => places().filter(({ node, path }) => !showing.has(node) && executionIds.includes(path.join(":")))
      if (!lacking().length) return
      const runs = await history()
      const now = workflow()
      for (const { node, path } of lacking()) {
        const id = path.join(":")
        const behind = settingsBehind(now, path)
        const textOf = ({ outputs }) => messageOf(node, outputs?.[id])
        const run = runs.findLast((each) => textOf(each) !== undefined && settingsBehind(each.workflow, path) === behind)
        if (run && !saysNothing(node, textOf(run))) show({ node, path }, textOf(run), now, { behind, prompt: promptOf(node) })
      }
    },
    /** The page's outputs, by locator, are these now. */
    restore(outputs) {
      const found = places()
      const now = found.length ? workflow() : null // the whole of it: once for all nodes
      for (const place of found) {
        const text = messageOf(place.node, outputs?.[place.locator])
        if (text === undefined || saysNothing(place.node, text)) {
          if (hasResult(place.node)) hide(place.node)
        } else if (showing.get(place.node)?.text !== text) show(place, text, now)
        else judge(place.node, now)
      }
    },
    /** The workflow has changed to this. */
    changed(now) {
      for (const { node } of places()) judge(node, now)
    },
    hideAll() {
      for (const { node } of places()) hide(node)
    }
  }
}
