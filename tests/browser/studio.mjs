// What an artist does on the page, for tests: nodes, values, links, saving, undo, prompts, messages of a run.
// The same calls work on all frontends and in both modes; nodes are named by their ids in the graph shown.

import assert from "node:assert/strict"

const EMPTY = { last_node_id: 0, last_link_id: 0, nodes: [], links: [], groups: [], config: {}, extra: {}, version: 0.4 }
const NEIGHBOURS = ["SLD", "CASG", "CRG", "SAFREE", "TraSCE"]
export const OURS = [
  "SafelightAdaVD",
  "SafelightCLIPVision",
  "SafelightConcepts",
  "SafelightConceptVector",
  "SafelightContextEncode",
  "SafelightDemoDetector",
  "SafelightDemoLoader",
  "SafelightDetectors",
  "SafelightEasy",
  "SafelightEditCheck",
  "SafelightEncoderRisk",
  "SafelightErase",
  "SafelightGrowthInhibitors",
  "SafelightGrowthInhibitorsGuider",
  "SafelightGuider",
  "SafelightKSampler",
  "SafelightKSamplerAdvanced",
  "SafelightLatentGuard",
  "SafelightLatentGuardRisk",
  "SafelightLoadConceptVector",
  "SafelightLoadErase",
  "SafelightLoadLatentGuard",
  "SafelightLoadRedaction",
  "SafelightLook",
  "SafelightMap",
  "SafelightModelPatch",
  "SafelightModelPresence",
  "SafelightNudeNet",
  "SafelightPrompt",
  "SafelightRedact",
  "SafelightSafeAdapter",
  "SafelightSafeCLIP",
  "SafelightSaveEdit",
  "SafelightSelective",
  "SafelightSemanticSurgery",
  "SafelightStrip",
  "SafelightTrainErase",
  "SafelightWeightSchedule",
  "SafelightWords",
  ...NEIGHBOURS.flatMap((name) => [`Safelight${name}Guider`, `Safelight${name}Patch`])
]

// Runs in the page.
function inPage() {
  window.studio = {
    get app() {
      return window.comfyAPI.app.app
    },
    get graph() {
      return this.app.canvas.graph ?? this.app.graph
    },
    node(id) {
      const found = this.graph.getNodeById(id) ?? this.graph._nodes.find((node) => String(node.id) === String(id))
      if (!found) throw new Error(`no node ${id} in the graph shown`)
      return found
    },
    widget(id, name) {
      const found = this.node(id).widgets?.find((widget) => widget.name === name)
      if (!found) throw new Error(`node ${id} has no widget ${name}`)
      return found
    },
    get tracker() {
      return this.app.extensionManager.workflow.activeWorkflow.changeTracker
    }
  }
}

export class Studio {
  /** Prompts that the page posted, as the server got them: {prompt, extra_data, ...}. Emptied for each test. */
  posted = []
  #toPage = null

  constructor(page, { mode }) {
    this.page = page
    this.mode = mode
  }

  /** To be called before the page is opened: takes part in its messages, reads what it posts. */
  async listen() {
    await this.page.addInitScript(inPage)
    await this.page.routeWebSocket(/\/ws\b/, (socket) => {
      socket.connectToServer()
      this.#toPage = socket
    })
    this.page.on("request", (request) => {
      if (request.method() === "POST" && /\/prompt$/.test(request.url())) this.posted.push(request.postDataJSON())
    })
  }

  /** Waits until the page has come up with our nodes and a graph to work on. */
  async ready(timeout) {
    await this.page.waitForFunction(
      () =>
        window.LiteGraph?.registered_node_types?.SafelightWeightSchedule &&
        window.comfyAPI?.app?.app?.canvas?.graph &&
        window.comfyAPI.app.app.extensionManager?.workflow?.activeWorkflow?.changeTracker,
      null,
      { timeout }
    )
    await this.page.waitForFunction(() => !document.querySelector("#splash-loader, .p-progressspinner"), null, { timeout })
  }

  /** An empty graph at scale 1, nothing to undo, the pointer where it touches nothing. */
  async clear() {
    this.posted.length = 0
    await this.page.mouse.move(700, 860)
    await this.load(EMPTY)
    await this.#acted()
    await this.page.evaluate(() => {
      document.activeElement?.blur()
      const { tracker, app } = window.studio
      tracker.reset()
      tracker.undoQueue = []
      tracker.redoQueue = []
      delete tracker.nodeOutputs
      app.nodeOutputs = {} // or the next node of the same id shows what another one did
      app.canvas.deselectAll?.()
    })
    await this.view({ scale: 1, x: 0, y: 0 })
  }

  /** The view: graph point (gx, gy) stands at ((gx + x) * scale, (gy + y) * scale) of the canvas. */
  async view({ scale, x, y }) {
    await this.page.evaluate(
      ([scale, x, y]) => {
        const { canvas } = window.studio.app
        canvas.ds.scale = scale
        canvas.ds.offset[0] = x
        canvas.ds.offset[1] = y
        canvas.setDirty(true, true)
      },
      [scale, x, y]
    )
    await this.settle()
  }

  /** Two frames: what a change sets off in the page has been drawn. */
  settle() {
    return this.page.evaluate(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))))
  }

  /** Waits until `check` (run in the page, window.studio at hand) gives something true, and returns it. */
  async until(check, argument, timeout = 30_000) {
    const handle = await this.page.waitForFunction(check, argument, { timeout })
    return handle.jsonValue()
  }

  /** Whether the page has this node type; older pages lack the core curve's widget, older servers its node. */
  has(type) {
    return this.page.evaluate((type) => {
      const node = type in window.LiteGraph.registered_node_types && window.LiteGraph.createNode(type)
      return Boolean(node && (type !== "CurveEditor" || node.widgets?.length))
    }, type)
  }

  /** Adds a node of a type and returns its id. `values`: widget values by name. */
  async add(type, { at = [320, 160], values = {} } = {}) {
    const id = await this.page.evaluate(
      ([type, at]) => {
        const node = window.LiteGraph.createNode(type)
        if (!node) throw new Error(`the page has no node ${type}`)
        node.pos = at
        window.studio.graph.add(node)
        return node.id
      },
      [type, at]
    )
    await this.setAll(id, values)
    await this.commit()
    return id
  }

  /** The value of a widget. */
  get(id, name) {
    return this.page.evaluate(([id, name]) => window.studio.widget(id, name).value, [id, name])
  }

  /** The curve that a schedule node holds, as an object. */
  async curve(id) {
    return JSON.parse(await this.get(id, "curve"))
  }

  /** Sets a widget as the page's own controls do: the value, then the callback. */
  set(id, name, value) {
    return this.setAll(id, { [name]: value })
  }

  /** Sets widgets by name, one after the other. */
  async setAll(id, values) {
    await this.page.evaluate(
      ([id, values]) => {
        for (const [name, value] of Object.entries(values)) {
          const widget = window.studio.widget(id, name)
          widget.value = value
          widget.callback?.(value, window.studio.app.canvas, window.studio.node(id))
        }
      },
      [id, values]
    )
    await this.settle()
  }

  /** {name: value} of all widgets of a node that have one. */
  values(id) {
    return this.page.evaluate(
      (id) => Object.fromEntries((window.studio.node(id).widgets ?? []).filter((w) => w.type !== "button").map((w) => [w.name, w.value])),
      id
    )
  }

  /** The element of a DOM widget, such as the curve's editor: a Playwright ElementHandle. */
  async element(id, name) {
    const handle = await this.page.waitForFunction(
      ([id, name]) => {
        const { element } = window.studio.widget(id, name)
        return element?.isConnected && element.getBoundingClientRect().width > 0 ? element : null
      },
      [id, name]
    )
    return handle.asElement()
  }

  /** Links an output to an input, each by name or index; an input that is a widget too becomes linked. */
  async connect(from, output, to, input) {
    await this.page.evaluate(
      ([from, output, to, input]) => {
        const [a, b] = [window.studio.node(from), window.studio.node(to)]
        const out = typeof output === "number" ? output : a.outputs.findIndex((slot) => slot.name === output)
        const into = typeof input === "number" ? input : b.inputs.findIndex((slot) => slot.name === input)
        if (out < 0 || into < 0 || !a.connect(out, b, into)) throw new Error(`no link ${output} to ${input}`)
      },
      [from, output, to, input]
    )
    await this.settle()
    await this.commit()
  }

  /** Takes the link off an input. */
  async disconnect(to, input) {
    await this.page.evaluate(
      ([to, input]) => {
        const node = window.studio.node(to)
        node.disconnectInput(node.inputs.findIndex((slot) => slot.name === input))
      },
      [to, input]
    )
    await this.settle()
    await this.commit()
  }

  /** The workflow as it would be saved. */
  save() {
    return this.page.evaluate(() => JSON.parse(JSON.stringify(window.studio.app.graph.serialize())))
  }

  /** Opens a workflow in the tab shown. */
  async load(workflow) {
    await this.page.evaluate(async (workflow) => {
      const { app } = window.studio
      await app.loadGraphData(workflow, true, false, app.extensionManager.workflow.activeWorkflow)
    }, workflow)
    await this.settle()
  }

  /** Saves the workflow and opens what was saved, which it returns. */
  async reopen() {
    const workflow = await this.save()
    await this.load(workflow)
    return workflow
  }

  /** The prompt that queueing would send: {id: {class_type, inputs}}. */
  prompt() {
    return this.page.evaluate(async () => JSON.parse(JSON.stringify((await window.studio.app.graphToPrompt()).output)))
  }

  /** Queues the workflow by the page's own command and returns what was posted. */
  async queue() {
    const before = this.posted.length
    const answer = this.page.waitForResponse((r) => r.request().method() === "POST" && /\/prompt$/.test(r.url()))
    await this.page.evaluate(() => window.studio.app.queuePrompt(0, 1))
    await answer
    return this.posted[before]
  }

  /** Tells the page's history of changes that the artist's last act is done, as lifting the mouse does. */
  async commit() {
    await this.page.evaluate(() => {
      const { tracker } = window.studio
      if (tracker.captureCanvasState) tracker.captureCanvasState()
      else tracker.checkState() // its name on older pages
    })
    await this.#acted()
  }

  /** The page takes what changes within 50 ms of an act for a part of it; an artist's next act comes later. */
  async #acted() {
    await this.page.evaluate(() => new Promise((done) => setTimeout(done, 60))) // by the page's clock
    await this.settle()
  }

  /** How many changes can be undone and redone. */
  history() {
    return this.page.evaluate(() => ({
      undo: window.studio.tracker.undoQueue.length,
      redo: window.studio.tracker.redoQueue.length
    }))
  }

  /** Ctrl-Z, waiting until the page has undone one change. */
  undo() {
    return this.#step("Control+z", "undo")
  }

  /** Ctrl-Y, waiting until the page has redone one change. */
  redo() {
    return this.#step("Control+y", "redo")
  }

  async #step(keys, which) {
    const before = (await this.history())[which]
    assert.ok(before > 0, `there is something to ${which}`)
    await this.page.keyboard.press(keys)
    await this.until(([queue, count]) => window.studio.tracker[queue].length < count, [`${which}Queue`, before])
    await this.settle()
  }

  /** Selects nodes, and none else. */
  async select(...ids) {
    await this.page.evaluate((ids) => {
      const { canvas } = window.studio.app
      canvas.canvas.focus({ preventScroll: true }) // as a click on a node does: else Ctrl-C may go elsewhere
      canvas.deselectAll?.()
      canvas.selectItems?.(ids.map((id) => window.studio.node(id)))
    }, ids)
    await this.settle()
  }

  /** A setting of the page. */
  async setting(name, value) {
    await this.page.evaluate(([name, value]) => window.studio.app.extensionManager.setting.set(name, value), [name, value])
    await this.settle()
  }

  /** Sends the page a message as the server would. */
  async message(type, data) {
    this.#toPage.send(JSON.stringify({ type, data }))
    await this.settle()
  }

  /** A node has run: `output` is its `ui`, such as {safelight_report: ["{...}"]}. */
  async executed(id, output) {
    const data = { node: String(id), display_node: String(id), prompt_id: "run", output }
    await this.message("executed", data)
  }
}
