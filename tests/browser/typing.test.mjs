// What an artist sees of a prompt's unsafe words while typing, and can do about them.
import assert from "node:assert/strict"
import { since, test } from "./harness.mjs"

const NODES = ["SafelightPrompt", "SafelightContextEncode"]
const ROUTE = /\/safelight\/prompt$/
const OTHERS = ["umbrella", "broom"]

/** What the server would say, with "knife" for the one unsafe word. */
function answerTo({ prompt, stand_ins: lines = "" }) {
  const line = lines.split("\n").findLast((each) => each.startsWith("knife ="))
  const own = line?.slice(7).trim()
  const text = own ?? "spoon"
  const start = [...prompt.slice(0, prompt.indexOf("knife"))].length
  const places = prompt.includes("knife") ? [{ start, stop: start + 5, key: "knife", text, others: OTHERS, own: own !== undefined, kept: own === "knife" }] : []
  const safe = prompt.replace("knife", text)
  const words = places.length && own !== "knife" ? ["knife"] : []
  const notes = words.length ? [] : ["Nothing unsafe was found in the prompt: the safe prompt is the prompt."]
  const verdict = { risk: words.length ? 0.9 : 0.1, method: "rewrite", words, notes, safe_prompt: safe, changes: words.length ? [text] : [] }
  return { verdict: JSON.stringify(verdict), places }
}

/** Answers the page's questions; returns them as they come. `hold`: by prompt, a promise that the answer waits for. */
async function serve(page, hold = {}) {
  const questions = []
  await page.unroute(ROUTE)
  await page.route(ROUTE, async (route) => {
    const question = route.request().postDataJSON()
    questions.push(question)
    await hold[question.prompt]
    const json = /[^\x00-\x7f]{3}/.test(question.prompt) ? { error: "prompt: expected English, got another language." } : answerTo(question)
    await route.fulfill({ status: json.error ? 400 : 200, json }).catch(() => {}) // the page may wait no more
  })
  return questions
}

const add = (studio, type, values) => studio.add(type, { at: [320, 120], values })
const view = (page, id) => page.evaluate((id) => {
  const shown = window.studio.node(id).widgets.find(({ name }) => /^safelight_(feedback|typing)$/.test(name))?.element
  const typing = shown?.querySelector(".safelight-typing")
  return typing ? typing.innerText : null
}, id)
const shows = (studio, id, text) => studio.until(([id, text]) => window.studio.node(id).widgets.find(({ name }) => /^safelight_(feedback|typing)$/.test(name))?.element.innerText.includes(text), [id, text])
/** The texts with marked words that are seen, once the page has drawn them. */
const linesAre = (studio, id, texts) => studio.until(([id, texts]) => {
  const { element } = window.studio.node(id).widgets.find(({ name }) => /^safelight_(feedback|typing)$/.test(name)) ?? {}
  const seen = [...(element ?? document.createElement("p")).querySelectorAll(".safelight-run-prompt")].filter((line) => line.offsetHeight)
  return JSON.stringify(seen.map((line) => line.textContent)) === JSON.stringify(texts)
}, [id, texts])
const isGone = (studio, id) => studio.until((id) => !window.studio.node(id).widgets.some(({ name }) => /^safelight_(feedback|typing)$/.test(name)), id)
/** The first word that can be pressed, once the page has drawn it. */
const word = async (page, id) => (await page.waitForFunction((id) => {
  const { element } = window.studio.node(id).widgets.find(({ name }) => /^safelight_(feedback|typing)$/.test(name)) ?? {}
  return [...(element?.querySelectorAll(".safelight-typing-word") ?? [])].find((found) => found.offsetHeight)
}, id)).asElement()
const item = (page, name) => page.locator(".safelight-menu button", { hasText: name })

for (const type of NODES) {
  test(`${type}: unsafe words are marked while they are typed, and nothing of it is saved`, async ({ page, studio }) => {
    await serve(page)
    const id = await add(studio, type)
    const before = await studio.save()
    const field = page.locator("textarea").first()
    await field.click()
    await field.pressSequentially("a cat and a knife")
    await shows(studio, id, "a cat and a spoon")
    assert.ok(await (await word(page, id)).isVisible())
    const saved = (await studio.save()).nodes[0]
    assert.deepEqual(Object.keys(saved).sort(), Object.keys(before.nodes[0]).sort())
    assert.equal(saved.widgets_values.length, before.nodes[0].widgets_values.length)
    assert.deepEqual([...saved.size].map(Math.round), [...before.nodes[0].size].map(Math.round))
    await studio.reopen()
    await shows(studio, id, "a cat and a spoon")
    await field.fill("a cat")
    await shows(studio, id, "no word stands out")
    await field.fill("")
    await isGone(studio, id)
  })

  test(`${type}: a click keeps a word, as one step of undo`, async ({ page, studio }) => {
    await serve(page)
    const id = await add(studio, type, { prompt: "a cat and a knife", stand_ins: "dog = fox" })
    await shows(studio, id, "a cat and a spoon")
    const { undo } = await studio.history()
    await (await word(page, id)).click()
    await item(page, "Keep").click()
    assert.equal(await studio.get(id, "stand_ins"), "dog = fox\nknife = knife")
    await studio.until((id) => window.studio.node(id).widgets.find(({ name }) => /^safelight_(feedback|typing)$/.test(name))
      ?.element.querySelector(".safelight-typing-word[data-kept]"), id)
    await studio.until((undo) => window.studio.tracker.undoQueue.length === undo + 1, undo)
    await studio.undo()
    assert.equal(await studio.get(id, "stand_ins"), "dog = fox")
    await shows(studio, id, "a cat and a spoon")
    assert.equal(await (await word(page, id)).getAttribute("data-kept"), null)
  })
}

test("by keys: another word, one of the artist's own, and Safelight's again", async ({ page, studio }) => {
  await serve(page)
  const id = await add(studio, "SafelightPrompt", { prompt: "a cat and a knife" })
  await (await word(page, id)).focus()
  await page.keyboard.press("Enter")
  await page.keyboard.press("ArrowDown")
  await page.keyboard.press("ArrowDown")
  await page.keyboard.press("Enter")
  assert.equal(await studio.get(id, "stand_ins"), "knife = umbrella")
  await shows(studio, id, "a cat and a umbrella")
  assert.equal(await page.evaluate(() => document.activeElement.getAttribute("aria-label")), "knife: becomes “umbrella”")
  await page.keyboard.press("Enter")
  await item(page, "Write your own").click()
  await page.keyboard.type("red = hat")
  await page.keyboard.press("Enter")
  assert.equal(await studio.get(id, "stand_ins"), "knife = red = hat")
  await shows(studio, id, "a cat and a red = hat")
  await (await word(page, id)).click()
  await item(page, "As Safelight chooses").click()
  assert.equal(await studio.get(id, "stand_ins"), "")
  await shows(studio, id, "a cat and a spoon")
})

test("an answer that comes late changes nothing", async ({ page, studio }) => {
  let release
  const questions = await serve(page, { "an old knife": new Promise((done) => (release = done)) })
  const id = await add(studio, "SafelightPrompt", { prompt: "an old knife" })
  await studio.until(() => true)
  for (let tries = 100; tries && !questions.length; tries--) await page.waitForTimeout(100)
  await studio.set(id, "prompt", "a new knife")
  await shows(studio, id, "a new spoon")
  release()
  await studio.settle()
  await shows(studio, id, "a new spoon")
  assert.deepEqual(questions.map(({ prompt }) => prompt), ["an old knife", "a new knife"])
})

test("what the node would refuse is said in its words", async ({ page, studio }) => {
  await serve(page)
  const id = await add(studio, "SafelightPrompt", { prompt: "кошка и нож" })
  await shows(studio, id, "prompt: expected English")
})

test("a linked prompt that is not known is not read", async ({ page, studio }) => {
  await serve(page)
  const id = await add(studio, "SafelightPrompt", { prompt: "a cat and a knife" })
  await shows(studio, id, "a cat and a spoon")
  const other = await studio.add("SafelightPrompt", { at: [20, 500] })
  await studio.connect(other, "prompt", id, "prompt")
  await isGone(studio, id)
})

test("project gives no safe prompt as text, so none is shown", async ({ page, studio }) => {
  await serve(page)
  const id = await add(studio, "SafelightContextEncode", { prompt: "a cat and a knife" })
  await shows(studio, id, "a cat and a spoon")
  await studio.set(id, "method", "project")
  await isGone(studio, id)
})

test("after a run its verdict stands alone, and its words can be pressed", async ({ page, studio }) => {
  await serve(page)
  const id = await add(studio, "SafelightPrompt", { prompt: "a cat and a knife" })
  await shows(studio, id, "a cat and a spoon")
  await studio.executed(id, { safelight_verdict: [answerTo({ prompt: "a cat and a knife" }).verdict] })
  await shows(studio, id, "method rewrite")
  assert.equal(await view(page, id), null)
  await linesAre(studio, id, ["a cat and a knife", "a cat and a spoon"])
  await (await word(page, id)).click()
  await item(page, "broom").click()
  await linesAre(studio, id, ["a cat and a knife", "a cat and a broom"]) // the old verdict has given way
  assert.equal(await (await word(page, id)).evaluate((mark) => {
    for (let at = mark; !at.matches("[data-typing]"); at = at.parentElement) if (getComputedStyle(at).opacity < 1 || getComputedStyle(at).filter !== "none") return "grey"
    return "clear"
  }), "clear")
  await studio.undo()
  await linesAre(studio, id, ["a cat and a knife", "a cat and a spoon"])
  await shows(studio, id, "method rewrite")
  assert.equal(await view(page, id), null)
})

test("no view where feedback is switched off", async ({ page, studio }) => {
  await serve(page)
  const id = await add(studio, "SafelightPrompt", { prompt: "a cat and a knife" })
  await shows(studio, id, "a cat and a spoon")
  await studio.setting("Safelight.Feedback.Show", false)
  try {
    await isGone(studio, id)
  } finally {
    await studio.setting("Safelight.Feedback.Show", true)
  }
  await shows(studio, id, "a cat and a spoon")
})

test("SafelightEasy: the words can be pressed before a run and on its result, and are never those of another prompt", async ({ page, studio }) => {
  await serve(page)
  const id = await add(studio, "SafelightEasy", { prompt: "a cat and a knife" })
  await linesAre(studio, id, ["a cat and a knife", "a cat and a spoon"])
  await (await word(page, id)).click()
  await item(page, "Keep").click()
  assert.equal(await studio.get(id, "stand_ins"), "knife = knife")
  await studio.undo()
  await linesAre(studio, id, ["a cat and a knife", "a cat and a spoon"])
  const calls = [{ sigma: 14, progress: 0, w: 1 }]
  const report = JSON.stringify({
    format: 2, safety: 1, risk: 0.95, gate: 0.5, gate_open: true, context: 0.2, schedule: {}, merge: "every step", weights: calls,
    moved: [0], replaced: 1, harmless: false, rows: 2, remembered_rows: 0, plain_rows: 2, notes: []
  })
  const pictures = JSON.stringify({ after: [{ filename: "after.png", subfolder: "", type: "temp" }] })
  const svg = '<svg xmlns="http://www.w3.org/2000/svg" width="64" height="64"><rect width="64" height="64" fill="green"/></svg>'
  await page.route(/\/view\?/, (route) => route.fulfill({ contentType: "image/svg+xml", body: svg }))
  const { verdict } = answerTo({ prompt: "a cat and a knife" })
  await studio.executed(id, { images: [], safelight_pictures: [pictures], safelight_report: [report], safelight_verdict: [verdict] })
  await shows(studio, id, "Steered")
  await linesAre(studio, id, ["a cat and a knife", "a cat and a spoon"])
  await (await word(page, id)).waitForElementState("visible")
  await studio.set(id, "prompt", "a dog and a knife")
  await studio.commit()
  await linesAre(studio, id, ["a dog and a knife", "a dog and a spoon"]) // and not those of the last run
  await shows(studio, id, "From other settings")
  await page.unroute(/\/view\?/)
})

test("in a subgraph the words are those of the widget that it is shown as", { skip: !since("1.49.6") && "subgraphs of this page show no widgets" }, async ({ page, studio }) => {
  await serve(page)
  const inner = await add(studio, "SafelightPrompt", { prompt: "a cat and a knife" })
  await shows(studio, inner, "a cat and a spoon")
  const made = await page.evaluate((id) => {
    const { app } = window.studio
    const node = window.studio.node(id)
    app.canvas.selectItems([node])
    const { subgraph, node: host } = app.graph.convertToSubgraph(new Set([node]))
    const inside = subgraph.nodes[0]
    const slot = subgraph.addInput("prompt", "STRING")
    slot.connect(inside.inputs.find(({ name }) => name === "prompt"), inside)
    window.typingInside = inside
    return { host: host.id, shown: host.widgets.map(({ name }) => name) }
  }, inner)
  assert.deepEqual(made.shown.filter((name) => name === "prompt"), ["prompt"])
  assert.ok(!made.shown.some((name) => /^safelight_/.test(name)), made.shown.join())
  await studio.set(made.host, "prompt", "a dog and a knife")
  await studio.commit()
  await studio.until(() => window.typingInside.widgets.find(({ name }) => name === "safelight_typing")?.element.textContent.includes("a dog and a spoon"))
})
