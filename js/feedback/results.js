// Which node shows what from its last run, and whether that still is what its settings give. Free of the application.
import { createEasyView, createNoteView, createReportView, createVerdictView } from "./feedback.js"
import { mount } from "../widgets/mount.js"
import { claimPictures, coverPictures, uncoverPictures } from "../widgets/own_pictures.js"
import { settingsBehind } from "./provenance.js"
import { zoomThrough } from "../widgets/wheel.js"

const EASY = "SafelightEasy"
/** By node type: the key in its `ui`, or several of which the view gets the texts as a JSON list; and the view. */
const SHOWN = {
  [EASY]: [["safelight_pictures", "safelight_report", "safelight_verdict"], createEasyView],
  SafelightKSampler: ["safelight_report", createReportView],
  SafelightKSamplerAdvanced: ["safelight_report", createReportView],
  SafelightSamplerCustom: ["safelight_report", createReportView],
  SafelightStrip: ["safelight_report", createReportView],
  SafelightPrompt: ["safelight_verdict", createVerdictView],
  SafelightContextEncode: ["safelight_verdict", createVerdictView],
  SafelightEncoderRisk: ["safelight_note", createNoteView],
  SafelightSemanticSurgery: ["safelight_note", createNoteView],
  SafelightLatentGuard: ["safelight_note", createNoteView],
  SafelightLatentGuardRisk: ["safelight_note", createNoteView],
  SafelightMap: ["safelight_note", createNoteView],
  SafelightLook: ["safelight_note", createNoteView],
  SafelightEditCheck: ["safelight_note", createNoteView]
}
const REMEMBERED = 64 // results whose settings are kept for when the page builds their nodes anew (undo, another tab)

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
 * @param {(event: WheelEvent) => void} zoom what the wheel does over the canvas
 * @param {(file: object) => string} address of a picture on the server
 * @param {{giveWay: (node: object) => void, resulted: (node: object, element: ?HTMLElement, stale: boolean) => void}} typing
 *   what is shown of a prompt before it runs: told before a result comes, and of every result, or that there is none
 */
export function createResults(placed, workflow, zoom, address, typing) {
  const showing = new WeakMap() // node to {view, mounted, text, path, run}
  const runs = new Map() // path and text to {behind, prompt}: the settings it came from, the prompt that it is about

  const places = () => [...placed()].filter(({ node }) => SHOWN[node.comfyClass])

  const hide = (node) => {
    if (node.comfyClass === EASY && showing.has(node)) uncoverPictures(node)
    showing.get(node)?.mounted.remove()
    if (showing.delete(node)) typing.resulted(node, null, false)
  }

  const judge = (node, now) => {
    const result = showing.get(node)
    if (!result) return
    const stale = settingsBehind(now, result.path) !== result.run.behind
    result.mounted.change(() => {
      result.view.setStale(stale)
      typing.resulted(node, result.view.element, stale)
    })
  }

  const show = ({ node, path }, text, now, run) => {
    const key = `${path.join(":")} ${text}`
    run ??= runs.get(key) ?? { behind: settingsBehind(now, path), prompt: promptOf(node) }
    runs.delete(key)
    runs.set(key, run)
    if (runs.size > REMEMBERED) runs.delete(runs.keys().next().value)
    let result = showing.get(node)
    if (!result) {
      const view = SHOWN[node.comfyClass][1](address)
      zoomThrough(view.element, zoom)
      typing.giveWay(node)
      if (node.comfyClass === EASY) coverPictures(node)
      result = { view, mounted: mount(node, view.element) }
      showing.set(node, result)
    }
    Object.assign(result, { text, path, run })
    result.mounted.change(() => result.view.show(text, run.prompt))
    judge(node, now)
  }

  return {
    /** A node was made, whose results will be shown. */
    made: (node) => node.comfyClass === EASY && claimPictures(node),
    /** A node has run. `ran`: what ran, {workflow, prompt}; until that is known it is taken for the present one. */
    arrived(executionId, output, ran) {
      const place = places().find(({ path }) => path.join(":") === executionId)
      const text = place && messageOf(place.node, output)
      if (text === undefined) return
      const { node, path } = place
      if (saysNothing(node, text)) return hide(node)
      const now = workflow()
      show(place, text, now, { behind: settingsBehind(now, path), prompt: promptOf(node) })
      ran.then((found) => {
        if (!found || showing.get(node)?.text !== text) return
        const { prompt } = found.prompt?.[executionId]?.inputs ?? {}
        const behind = settingsBehind(found.workflow, path)
        if (behind) show(place, text, workflow(), { behind, prompt: typeof prompt === "string" ? prompt : "" })
      })
    },
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
        if (text === undefined || saysNothing(place.node, text)) hide(place.node)
        else if (showing.get(place.node)?.text !== text) show(place, text, now)
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
