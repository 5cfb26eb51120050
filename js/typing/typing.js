// Reads the prompt of a node while it is typed, and shows what is unsafe in it under the prompt. One of two: where the last
// run's verdict still holds, its words can be pressed and this shows nothing of its own. Free of the application.
import { chain } from "../widgets/chain.js"
import { mount } from "../widgets/mount.js"
import { zoomThrough } from "../widgets/wheel.js"
import { withLine, withoutLine } from "./lines.js"
import { questionOf, standInsOf } from "./question.js"
import { createTypingView } from "./view.js"

const NODES = ["SafelightPrompt", "SafelightContextEncode", "SafelightEasy"]
const NAME = "safelight_typing"
const REST = 300 // ms after the last key

/**
 * @param {object} page
 * @param {() => Iterable<{node: object}>} page.placed every node of the workflow
 * @param {(question: object, signal: AbortSignal) => Promise<?object>} page.ask what the server says of a prompt, null
 *   where it says nothing
 * @param {() => void} page.edited an edit is over: one step of undo
 * @param {(event: WheelEvent) => void} page.zoom what the wheel does over the canvas
 */
export function createTyping({ placed, ask, edited, zoom }) {
  const states = new WeakMap() // by node: {view, mounted, result, stale, asked, answer, prompt, timer, request}
  let isOn = true

  function choose(node, key, standIn) {
    const widget = standInsOf(node)
    if (!widget) return
    const lines = String(widget.value ?? "")
    widget.value = standIn === null ? withoutLine(lines, key) : withLine(lines, key, standIn)
    widget.callback?.(widget.value)
    edited()
    look(node)
  }

  function unmount(state) {
    state.mounted?.remove()
    state.mounted = null
    state.result?.removeAttribute("data-typing")
    state.view?.element.remove()
  }

  /** Shows the answer where it belongs. */
  function render(node) {
    const state = states.get(node)
    const { answer, prompt, result } = state
    if (!answer) return unmount(state)
    if (!state.view) {
      state.view = createTypingView((key, standIn) => choose(node, key, standIn))
      zoomThrough(state.view.element, zoom)
    }
    const draw = () => state.view.show(prompt, answer, standInsOf(node) !== undefined)
    if (result) {
      const found = draw()
      if (state.stale) result.append(state.view.element)
      else unmount(state)
      result.toggleAttribute("data-typing", state.stale)
      result.setAttribute("role", "group") // what can be worked is no announcement
      if (!state.stale && found) state.view.enliven(result)
    } else if (state.mounted) {
      state.mounted.change(draw)
    } else if (draw()) {
      state.mounted = mount(node, state.view.element, NAME)
    }
  }

  /** An answer that is under way comes too late. */
  function drop(state) {
    clearTimeout(state.timer)
    state.request?.abort()
    state.asked = ""
  }

  function clear(node) {
    const state = states.get(node)
    if (!state) return
    drop(state)
    state.answer = null
    render(node)
  }

  async function read(node, question) {
    const state = states.get(node)
    state.request = new AbortController()
    const { signal } = state.request
    const answer = await ask(question, signal)
    if (signal.aborted) return // a newer text has been asked about, or none is to be
    Object.assign(state, { answer, prompt: question.prompt })
    render(node)
  }

  /** Asks again where the question is another one. */
  function look(node) {
    const state = states.get(node)
    if (!state || !isOn || !node.graph) return
    const question = questionOf(node)
    if (!question) return clear(node)
    const asked = JSON.stringify(question)
    if (asked === state.asked) return
    drop(state) // what it showed stays till the next answer
    state.asked = asked
    state.timer = setTimeout(() => read(node, question), REST)
  }

  function made(node) {
    if (!NODES.includes(node.comfyClass) || states.has(node)) return
    states.set(node, { asked: "", answer: null, mounted: null, result: null })
    const again = () => look(node)
    for (const widget of node.widgets ?? []) chain(widget, "callback", again)
    for (const event of ["onConfigure", "onConnectionsChange", "onAdded"]) chain(node, event, again)
    chain(node, "onRemoved", () => drop(states.get(node)))
    look(node)
  }

  return {
    /** A node was made. */
    made,
    /** The workflow has changed, or another one was opened. */
    changed() {
      isOn = true
      for (const { node } of placed()) {
        made(node)
        look(node)
      }
    },
    /** A run's result is about to be shown. */
    giveWay(node) {
      if (states.has(node)) unmount(states.get(node))
    },
    /** A node shows the result of a run in this element, null for none; stale: it is of other settings. */
    resulted(node, result, stale) {
      const state = states.get(node)
      if (!state) return
      if (state.result && state.result !== result) unmount(state)
      Object.assign(state, { result, stale })
      render(node)
    },
    hideAll() {
      isOn = false
      for (const { node } of placed()) clear(node)
    }
  }
}
