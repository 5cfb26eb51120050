// Pictures of the nodes for help and README, taken on a real server where runs are real: `python run.py pictures`.
// SAFELIGHT_HELP and SAFELIGHT_README name the folders that they go to; see harness.mjs for the rest.
import { readFileSync } from "node:fs"
import { MODE, test } from "./harness.mjs"

const { SAFELIGHT_HELP: HELP, SAFELIGHT_README: README } = process.env
const ONLY_ONCE = { skip: MODE !== "nodes2" && "the help shows Nodes 2.0" }
const MARGIN = 14 // px around the nodes
const CURVE = { points: [[0, 0.35], [0.3, 1], [0.62, 0.8], [1, 0.15]], interpolation: "monotone_cubic" }
const PROMPT = "a kitchen knife and a dog on a blue background" // one of its own: the server reports no node again
const workflow = (name) => JSON.parse(readFileSync(new URL(`../../workflows/${name}.json`, import.meta.url)))

/** Ids of a workflow's nodes by type; the last one where there are several. */
const byType = ({ nodes }) => Object.fromEntries(nodes.map(({ type, id }) => [type, id]))

/** The rectangle around nodes as the page shows them, with a margin, in CSS pixels. */
const around = (page, ids) => page.evaluate(([ids, margin]) => {
  const { canvas } = window.studio.app
  const ground = canvas.canvas.getBoundingClientRect()
  const boxes = ids.map((id) => {
    const element = document.querySelector(`[data-node-id="${id}"]`)
    if (element) return element.getBoundingClientRect()
    const [x, y, width, height] = window.studio.node(id).boundingRect ?? window.studio.node(id).getBounding()
    const [left, top] = canvas.ds.convertOffsetToCanvas([x, y]).map((at, i) => at + [ground.left, ground.top][i])
    const { scale } = canvas.ds
    return { left, top, right: left + width * scale, bottom: top + height * scale }
  })
  const [x, y] = ["left", "top"].map((side) => Math.min(...boxes.map((box) => box[side])) - margin)
  const [right, bottom] = ["right", "bottom"].map((side) => Math.max(...boxes.map((box) => box[side])) + margin)
  return { x, y, width: right - x, height: bottom - y }
}, [ids, MARGIN])

let place = 1000 // down the canvas; each picture has its own

/** Saves a picture of these nodes, side by side in an empty place and clear of the page's own bars. */
async function picture(page, studio, ids, path, scale = 1.2) {
  place += 3000
  await page.evaluate(([ids, y]) => {
    let x = 4000
    for (const id of ids) {
      const node = window.studio.node(id)
      node.pos = [x, y]
      const growing = node.type === "SafelightWeightSchedule" // any height is its contents'
      if (document.querySelector(`[data-node-id="${id}"]`) && !growing) node.setSize([node.size[0], 60])
      x += node.size[0] + 70
    }
  }, [ids, place])
  await studio.setting("Comfy.NodeBadge.NodeSourceBadgeMode", "None")
  await studio.select()
  await page.mouse.move(1580, 1350)
  await studio.view({ scale, x: 150 / scale - 4000, y: 170 / scale - place })
  await page.waitForTimeout(1000) // what fades in has done so
  await page.screenshot({ path, type: "jpeg", quality: 75, clip: await around(page, ids) })
}

let seed = 5

/** Runs the workflow and waits until a sampler shows what its run did. */
async function run(studio, id, chosen) {
  // A seed of its own each time: of a run that it remembers the server reports its last node only.
  await studio.page.evaluate(([id, seed]) => {
    window.studio.node(id).widgets.find(({ name }) => name.endsWith("seed")).value = seed
  }, [id, chosen ?? seed++])
  await studio.queue()
  await studio.until((id) => {
    const widget = window.studio.node(id).widgets.find(({ name }) => name === "safelight_feedback")
    return widget?.element.querySelector(".safelight-feedback:not([data-live])")
  }, id, 90_000)
  await studio.settle()
}

test("the nodes of a run", ONLY_ONCE, async ({ page, studio }) => {
  await page.setViewportSize({ width: 1600, height: 1400 })
  const saved = workflow("16 The slider on one picture")
  const ids = byType(saved)
  await studio.load(saved)
  await studio.set(ids.SafelightKSampler, "safety", 0.75)
  await studio.set(ids.SafelightContextEncode, "prompt", PROMPT)
  await studio.setAll(ids.SafelightWeightSchedule, { curve: CURVE, context: 0.18, preset: "custom" })
  await run(studio, ids.SafelightKSampler)
  for (const type of ["SafelightContextEncode", "SafelightDemoLoader", "SafelightKSampler", "SafelightWeightSchedule"]) {
    await picture(page, studio, [ids[type]], `${HELP}/${type}.jpg`)
  }
})

test("the node to begin with, after a run", ONLY_ONCE, async ({ page, studio }) => {
  await page.setViewportSize({ width: 1600, height: 1400 })
  const saved = workflow("01 Start here")
  const { SafelightDemoLoader, SafelightEasy } = byType(saved)
  await studio.load(saved)
  await run(studio, SafelightEasy, 2)
  await picture(page, studio, [SafelightDemoLoader, SafelightEasy], `${HELP}/SafelightEasy.jpg`, 1)
})

test("a sampler that looked", ONLY_ONCE, async ({ page, studio }) => {
  await page.setViewportSize({ width: 1600, height: 1400 })
  const saved = workflow("11 Look and steer")
  const ids = byType(saved)
  await studio.load(saved)
  await run(studio, ids.SafelightKSampler, 2)
  await picture(page, studio, [ids.SafelightDemoDetector, ids.SafelightKSampler], `${HELP}/SafelightKSampler_look.jpg`, 1)
})

test("the nodes by themselves", ONLY_ONCE, async ({ page, studio }) => {
  await page.setViewportSize({ width: 1600, height: 1400 })
  const concepts = await studio.add("SafelightConcepts")
  await picture(page, studio, [concepts], `${HELP}/SafelightConcepts.jpg`)
  const risk = await studio.add("SafelightEncoderRisk", { at: [900, 160], values: { prompt: PROMPT } })
  await picture(page, studio, [risk], `${HELP}/SafelightEncoderRisk.jpg`)
  const guider = await studio.add("SafelightGuider", { at: [900, 160], values: { safety: 0.5 } })
  await picture(page, studio, [guider], `${HELP}/SafelightGuider.jpg`)
  const custom = await studio.add("SafelightSamplerCustom", { at: [900, 160], values: { safety: 0.75 } })
  await picture(page, studio, [custom], `${HELP}/SafelightSamplerCustom.jpg`)
  const adavd = await studio.add("SafelightAdaVD", { at: [900, 160], values: { concepts: "spiders, wasps, snakes" } })
  await picture(page, studio, [adavd], `${HELP}/SafelightAdaVD.jpg`)
  const inhibitors = await studio.add("SafelightGrowthInhibitors", { at: [900, 160], values: { concepts: "spiders, wasps, snakes" } })
  await picture(page, studio, [inhibitors], `${HELP}/SafelightGrowthInhibitors.jpg`)
  const surgery = await studio.add("SafelightSemanticSurgery", { at: [900, 160], values: { prompt: PROMPT } })
  await picture(page, studio, [surgery], `${HELP}/SafelightSemanticSurgery.jpg`)
  for (const type of ["SafelightLatentGuard", "SafelightLatentGuardRisk", "SafelightLoadLatentGuard"]) {
    const guard = await studio.add(type, { at: [900, 160] })
    await picture(page, studio, [guard], `${HELP}/${type}.jpg`)
  }
  const train = await studio.add("SafelightTrainErase", { at: [900, 160], values: { concepts: "spiders, wasps, snakes" } })
  await picture(page, studio, [train], `${HELP}/SafelightTrainErase.jpg`)
  const safeClip = await studio.add("SafelightSafeCLIP", { at: [900, 160], values: { concepts: "spiders, wasps, snakes" } })
  await picture(page, studio, [safeClip], `${HELP}/SafelightSafeCLIP.jpg`)
  const selective = await studio.add("SafelightSelective", { at: [900, 160] })
  await picture(page, studio, [selective], `${HELP}/SafelightSelective.jpg`)
})

test("a prompt after a run, as text", ONLY_ONCE, async ({ page, studio }) => {
  await page.setViewportSize({ width: 1600, height: 1400 })
  const saved = workflow("18 Any text node")
  const ids = byType(saved)
  await studio.load(saved)
  await run(studio, ids.SafelightKSampler)
  await picture(page, studio, [ids.SafelightPrompt], `${HELP}/SafelightPrompt.jpg`)
})

const GUIDERS = { SafelightSLDGuider: {}, SafelightCASGGuider: {}, SafelightCRGGuider: {}, SafelightTraSCEGuider: { concept: "spiders, wasps, snakes" }, SafelightSAFREEGuider: { prompt: PROMPT }, SafelightGrowthInhibitorsGuider: { concepts: "spiders, wasps, snakes" } }

test("the guiders of the other methods", ONLY_ONCE, async ({ page, studio }) => {
  await page.setViewportSize({ width: 1600, height: 1400 })
  for (const [type, values] of Object.entries(GUIDERS)) {
    const guider = await studio.add(type, { at: [900, 160], values })
    await picture(page, studio, [guider], `${HELP}/${type}.jpg`)
  }
})

const PATCHES = { SafelightModelPatch: {}, SafelightSLDPatch: {}, SafelightCASGPatch: {}, SafelightCRGPatch: {}, SafelightTraSCEPatch: {}, SafelightSAFREEPatch: { prompt: PROMPT } }

for (const [type, values] of Object.entries(PATCHES)) {
  test(`${type} between a model and a KSampler`, ONLY_ONCE, async ({ page, studio }) => {
    await page.setViewportSize({ width: 1600, height: 1400 })
    const loader = await studio.add("SafelightDemoLoader", { at: [320, 160] })
    const patch = await studio.add(type, { at: [620, 160], values })
    const sampler = await studio.add("KSampler", { at: [960, 160] })
    await studio.connect(loader, 0, patch, "model")
    if (type !== "SafelightModelPatch") await studio.connect(loader, 1, patch, "clip")
    await studio.connect(patch, 0, sampler, "model")
    await picture(page, studio, [loader, patch, sampler], `${HELP}/${type}.jpg`, 1)
  })
}

test("the map of a run", ONLY_ONCE, async ({ page, studio }) => {
  await page.setViewportSize({ width: 1600, height: 1400 })
  const saved = workflow("13 Compare methods")
  const { SafelightMap } = byType(saved)
  await studio.load(saved)
  await studio.queue()
  await studio.until((id) => document.querySelector(`[data-node-id="${id}"] img`), SafelightMap, 180_000)
  await studio.settle()
  await picture(page, studio, [SafelightMap], `${HELP}/SafelightMap.jpg`)
})

test("the detectors", ONLY_ONCE, async ({ page, studio }) => {
  await page.setViewportSize({ width: 1600, height: 1400 })
  for (const type of ["SafelightNudeNet", "SafelightCLIPVision", "SafelightDemoDetector", "SafelightDetectors", "SafelightModelPresence", "SafelightWords"]) {
    const detector = await studio.add(type, { at: [900, 160] })
    await picture(page, studio, [detector], `${HELP}/${type}.jpg`)
  }
})

test("a look at the picture of a run", ONLY_ONCE, async ({ page, studio }) => {
  await page.setViewportSize({ width: 1600, height: 1400 })
  const saved = workflow("16 The slider on one picture")
  const ids = byType(saved)
  await studio.load(saved)
  await studio.set(ids.SafelightContextEncode, "prompt", PROMPT)
  await studio.set(ids.SafelightKSampler, "safety", 0)
  const detector = await studio.add("SafelightDemoDetector", { at: [4000, 400] })
  const look = await studio.add("SafelightLook", { at: [4400, 400] })
  await studio.connect(ids.VAEDecode, 0, look, "images")
  await studio.connect(detector, 0, look, "detector")
  await run(studio, ids.SafelightKSampler)
  await studio.until((id) => document.querySelector(`[data-node-id="${id}"] img`), look, 90_000)
  await studio.settle()
  await picture(page, studio, [look], `${HELP}/SafelightLook.jpg`)
})

const EDITS = { SafelightErase: ["erase", 1, "LoadErase"], SafelightRedact: ["redaction", 1, "LoadRedaction"], SafelightConceptVector: ["vector", 0, "LoadConceptVector"] }

test("the edits, made, saved and loaded", ONLY_ONCE, async ({ page, studio }) => {
  await page.setViewportSize({ width: 1600, height: 1400 })
  const saved = workflow("14 Compare edits")
  const ids = byType(saved)
  await studio.load(saved)
  await studio.set(ids.SafelightRedact, "form", "network")
  const fit = await studio.add("PreviewImage", { at: [4000, 400] })
  await studio.connect(ids.SafelightRedact, 2, fit, "images")
  const check = await studio.add("SafelightEditCheck", { at: [4400, 900] })
  await studio.connect(ids.SafelightDemoLoader, 1, check, "clip")
  await studio.connect(ids.SafelightRedact, 0, check, "edited_clip")
  let save
  for (const [type, [filename_prefix, output]] of Object.entries(EDITS)) {
    save = await studio.add("SafelightSaveEdit", { at: [4000, 900], values: { filename_prefix } })
    await studio.connect(ids[type], output, save, "edit")
  }
  await studio.queue()
  for (const id of [fit, ids.SaveImage]) {
    await studio.until((id) => document.querySelector(`[data-node-id="${id}"] img`), id, 180_000)
  }
  await page.evaluate(() => window.studio.app.refreshComboInNodes())
  await studio.settle()
  for (const type of ["SafelightErase", "SafelightConceptVector", "SafelightSafeAdapter"]) {
    await picture(page, studio, [ids[type]], `${HELP}/${type}.jpg`)
  }
  await picture(page, studio, [ids.SafelightRedact, fit], `${HELP}/SafelightRedact.jpg`, 1)
  await picture(page, studio, [check], `${HELP}/SafelightEditCheck.jpg`)
  await picture(page, studio, [ids.SafelightConceptVector, save], `${HELP}/SafelightSaveEdit.jpg`, 1)
  await page.evaluate(() => { window.studio.app.nodeOutputs = {} })
  for (const [filename_prefix, , load] of Object.values(EDITS)) {
    const id = await studio.add(`Safelight${load}`, { at: [4400, 160], values: { file: `${filename_prefix}_00001_.safetensors` } })
    await picture(page, studio, [id], `${HELP}/Safelight${load}.jpg`)
  }
})

test("a strip after its run", ONLY_ONCE, async ({ page, studio }) => {
  await page.setViewportSize({ width: 1600, height: 1400 })
  const saved = workflow("12 A strip of five")
  const { SafelightStrip, SaveImage } = byType(saved)
  await studio.load(saved)
  await run(studio, SafelightStrip)
  await studio.until((id) => document.querySelector(`[data-node-id="${id}"] img`), SaveImage, 90_000)
  await picture(page, studio, [SafelightStrip, SaveImage], `${HELP}/SafelightStrip.jpg`, 1)
})

test("the second stage of a run", ONLY_ONCE, async ({ page, studio }) => {
  await page.setViewportSize({ width: 1600, height: 1400 })
  const saved = workflow("16 The slider on one picture")
  const ids = byType(saved)
  await studio.load(saved)
  const stages = []
  for (const [stage, values] of [
    { end_at_step: 8, return_with_leftover_noise: "enable" },
    { start_at_step: 8, add_noise: "disable" }
  ].entries()) {
    const id = await studio.add("SafelightKSamplerAdvanced", { at: [1320 + 400 * stage, 800], values: { cfg: 3, control_after_generate: "fixed", ...values } })
    await studio.connect(ids.SafelightDemoLoader, 0, id, "model")
    await studio.connect(ids.SafelightContextEncode, 0, id, "positive")
    await studio.connect(ids.SafelightContextEncode, 1, id, "safe")
    await studio.connect(ids.CLIPTextEncode, 0, id, "negative")
    await studio.connect(stages[0] ?? ids.EmptyLatentImage, 0, id, "latent_image")
    await studio.connect(ids.SafelightWeightSchedule, 0, id, "schedule")
    stages.push(id)
  }
  await studio.connect(stages[1], 0, ids.VAEDecode, "samples")
  await run(studio, stages[1])
  await picture(page, studio, [stages[1]], `${HELP}/SafelightKSamplerAdvanced.jpg`)
})

for (const palette of ["dark", "light"]) {
  test(`the editor, ${palette}`, async ({ page, studio }) => {
    await page.setViewportSize({ width: 1600, height: 1400 })
    const saved = workflow("16 The slider on one picture")
    const ids = byType(saved)
    await studio.load(saved)
    await studio.set(ids.SafelightKSampler, "safety", 0.75)
    await studio.setAll(ids.SafelightWeightSchedule, { curve: CURVE, context: 0.18, preset: "custom" })
    await studio.setting("Comfy.ColorPalette", palette)
    await run(studio, ids.SafelightKSampler)
    await picture(page, studio, [ids.SafelightWeightSchedule, ids.SafelightKSampler], `${README}/editor_${MODE}_${palette}.jpg`, 1)
    await studio.setting("Comfy.ColorPalette", "dark")
  })
}
