// The one place where Safelight meets the ComfyUI page.
import { api } from "../../scripts/api.js"
import { app } from "../../scripts/app.js"
import { DEFAULT_PRESET, PRESETS } from "./schedule/curve.js"
import { fromEarlier } from "./earlier.js"
import { createResults } from "./feedback/results.js"
import { createScheduleWidgets } from "./schedule/schedule.js"
import { createTyping } from "./typing/typing.js"
import { leadSearch } from "./search.js"
import { FEEDBACK, PRESET, settings } from "./settings.js"
import { chain } from "./widgets/chain.js"
import { translateTemplate } from "./templates.js"
import { withoutAdvanced } from "./widgets/compact.js"
import { foldAdvanced, foldAgain } from "./widgets/fold.js"
import { followUse, useChanged } from "./widgets/idle.js"
import { followSafety } from "./widgets/slider.js"
import { bareSockets } from "./widgets/sockets.js"
import { VERSION } from "./version.js"
import { speak, templateTexts } from "./words.js"

const PAPER = "https://arxiv.org/abs/2411.13982"

// The package index build's page has no such settings.
const setting = (id) => app.extensionManager?.setting.get(id)
const workflow = () => (app.rootGraph ?? app.graph).serialize()

/** Every node of the workflow, those in subgraphs once for each way to them. */
function* placed(graph = app.rootGraph ?? app.graph, path = []) {
  for (const node of graph.nodes ?? graph._nodes) {
    const here = [...path, String(node.id)]
    yield { node, path: here, locator: path.length ? `${graph.id}:${node.id}` : here[0] }
    if (node.subgraph) yield* placed(node.subgraph, here)
  }
}

/** The prompt and the workflow of a run, null where the server does not know them (a run sent by another client). */
async function askWhatRan(id) {
  const ask = async (path) => (await api.fetchApi(path)).json()
  try {
    const running = (await ask("/queue")).queue_running.find((entry) => entry[1] === id)
    const [, , prompt, { extra_pnginfo: saved }] = running ?? (await ask(`/history/${id}`))[id].prompt
    return saved?.workflow ? { prompt, workflow: saved.workflow } : null
  } catch {
    return null
  }
}

/** The runs that the server still knows and whose workflow came with them, the last one at the end. */
async function askHistory() {
  try {
    const entries = Object.values(await (await api.fetchApi("/history")).json())
    return entries.flatMap(({ prompt, outputs }) => {
      const saved = prompt[3]?.extra_pnginfo?.workflow
      return saved ? [{ outputs, workflow: saved }] : []
    })
  } catch {
    return []
  }
}

/** On the classic canvas an element keeps the wheel to itself; in Nodes 2.0 the page sees to it. */
function zoom(event) {
  if (window.LiteGraph.vueNodesMode) return
  event.preventDefault()
  app.canvas.processMouseWheel(event)
}

const picture = (file) => api.apiURL(`/view?${new URLSearchParams(file)}`)
const typing = createTyping({ placed, ask: askPrompt, edited, zoom })
const results = createResults(placed, workflow, { zoom, address: picture, edited, typing })
let asked = { id: null, ran: null } // one question for all nodes of a run

function onExecuted({ detail }) {
  if (!setting(FEEDBACK)) return
  if (asked.id !== detail.prompt_id) asked = { id: detail.prompt_id, ran: askWhatRan(detail.prompt_id) }
  results.arrived(String(detail.display_node || detail.node), detail.output, asked.ran)
}

/** A run that ends, in whatever way. Servers of 2024 have no word for a good end but that nothing runs. */
function followRuns() {
  api.addEventListener("safelight_calls", ({ detail }) => {
    if (setting(FEEDBACK)) results.runs(detail)
  })
  for (const end of ["execution_success", "execution_error", "execution_interrupted", "reconnecting"]) {
    api.addEventListener(end, results.stopped)
  }
  api.addEventListener("executing", ({ detail }) => {
    if (!detail) results.stopped()
  })
}

function showResults(wanted = setting(FEEDBACK)) {
  if (!wanted) return [results, typing].forEach((each) => each.hideAll())
  results.restore(app.nodeOutputs)
  typing.changed()
}

/** The page's language, from the texts that it has loaded for its nodes too. */
async function learnLanguage() {
  const language = setting("Comfy.Locale")
  if (!language || language === "en") return
  try {
    speak((await api.getCustomNodesI18n())[language]?.safelight)
  } catch {
    // An older server has no texts: English it is.
  }
}

/** A page without gradient sliders makes a number box of one; it has plain sliders. */
function offerSlider(defs) {
  const probe = new window.LiteGraph.LGraphNode("probe")
  const made = (type) => probe.addWidget(type, type, 0, () => {}, {}).constructor
  if (made("gradientslider") !== made("safelight-unknown")) return
  for (const def of Object.values(defs)) {
    const options = def.input?.required?.safety?.[1]
    if (options?.display === "gradientslider") options.display = "slider"
  }
}

/** Where the steps of a run lie, as the server works it out; null from a server or for settings that give no answer. */
async function askSteps(run) {
  try {
    const answer = await api.fetchApi(`/safelight/steps?${new URLSearchParams(run)}`)
    return answer.ok ? await answer.json() : null
  } catch {
    return null
  }
}

/** What is unsafe in a prompt; {error} for inputs that the node would refuse, null from a server that does not say. */
async function askPrompt(question, signal) {
  try {
    const body = JSON.stringify(question)
    const answer = await api.fetchApi("/safelight/prompt", { method: "POST", headers: { "Content-Type": "application/json" }, body, signal })
    return answer.ok || answer.status === 400 ? await answer.json() : null
  } catch {
    return null
  }
}

/** The page's history takes note, of `act` as one step: an edit by touch, or one with a key held down, would pass it by. */
function edited(act) {
  app.canvas.emitBeforeChange()
  act?.()
  app.canvas.emitAfterChange()
}

const REST = 300 // ms
let resting

/** In Nodes 2.0 the page's history takes no note of a slider that is dragged: it is told when the hand rests. */
function noteDrags(node) {
  for (const widget of node.widgets ?? []) {
    if (typeof widget.value !== "number") continue
    chain(widget, "callback", () => {
      if (!window.LiteGraph.vueNodesMode) return
      clearTimeout(resting)
      resting = setTimeout(() => edited(), REST)
    })
  }
}

const firstPreset = () => (setting(PRESET) in PRESETS ? setting(PRESET) : DEFAULT_PRESET)

/** A node just made: a workflow's own value, where it is loaded from one, comes after this. */
function startWithPreset(node) {
  const widget = node.comfyClass === "SafelightWeightSchedule" && node.widgets?.find(({ name }) => name === "preset")
  if (widget) widget.value = firstPreset()
}

/** The package index build's page knows plain notes alone, and would queue another kind as a node that does not exist. */
function writePlainNotes({ nodes }) {
  if ("MarkdownNote" in window.LiteGraph.registered_node_types) return
  for (const node of nodes) if (node.type === "MarkdownNote") node.type = "Note"
}

app.registerExtension({
  name: "Safelight.Nodes",
  settings: settings(showResults),
  aboutPageBadges: [{ label: `Safelight ${VERSION}`, url: PAPER, icon: "pi pi-book" }],
  addCustomNodeDefs(defs) {
    offerSlider(defs)
    leadSearch(defs)
  },
  async setup() {
    api.addEventListener("executed", onExecuted)
    api.addEventListener("execution_cached", ({ detail }) => {
      if (setting(FEEDBACK)) results.remembered(detail.nodes.map(String), askHistory)
    })
    followRuns()
    api.addEventListener("graphChanged", ({ detail }) => {
      results.changed(detail)
      if (setting(FEEDBACK)) typing.changed()
      for (const { node } of placed()) useChanged(node)
    })
    app.ui?.settings?.addEventListener?.("Comfy.VueNodes.Enabled.change", () => {
      setTimeout(() => [...placed()].forEach(({ node }) => foldAgain(node))) // once the page has changed over
    })
    await learnLanguage()
  },
  nodeCreated(node) {
    startWithPreset(node)
    if (!node.comfyClass?.startsWith("Safelight")) return
    bareSockets(node)
    followSafety(node)
    noteDrags(node)
    followUse(node)
    if (node.comfyClass === "SafelightEasy") foldAdvanced(node)
    withoutAdvanced(node)
    if (!setting(FEEDBACK)) return
    results.made(node)
    typing.made(node)
  },
  beforeConfigureGraph(saved) {
    fromEarlier(saved)
    translateTemplate(saved, templateTexts())
    writePlainNotes(saved)
  },
  afterConfigureGraph: () => showResults(),
  onNodeOutputsUpdated: () => showResults(),
  getCustomWidgets() {
    return {
      // Asked for by `widgetType`; the input itself is text, so that a page without this shows it as such.
      SAFELIGHT_CURVE: createScheduleWidgets({ askSteps, edited, firstPreset, zoom })
    }
  }
})
