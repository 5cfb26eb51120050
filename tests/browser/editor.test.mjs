// Shaping a curve by mouse, touch and keyboard, and what the page keeps of it.
import assert from "node:assert/strict"
import { since, test } from "./harness.mjs"
import { Plot } from "./plot.mjs"

const BELL = [[0.2, 0.2], [0.6, 1], [1, 0.2]]

/** A schedule node with its editor, at graph scale 1 unless told. */
async function schedule(page, studio, values = {}) {
  const id = await studio.add("SafelightWeightSchedule", { at: [200, 160], values })
  return { id, plot: await Plot.of(page, studio, id) }
}

const near = (pairs, expected, within = 0.02) => {
  assert.equal(pairs.length, expected.length, JSON.stringify(pairs))
  pairs.flat().forEach((n, i) => assert.ok(Math.abs(n - expected.flat()[i]) <= within, JSON.stringify(pairs)))
}

test("choosing a preset draws it", async ({ page, studio }) => {
  const { id, plot } = await schedule(page, studio)
  assert.deepEqual(await plot.drawn(), { points: [[0, 1], [1, 1]], context: 0.2, line: true })
  await studio.set(id, "preset", "bell")
  near((await plot.drawn()).points, BELL)
  await studio.set(id, "preset", "gentle")
  assert.equal((await plot.drawn()).context, 0.3)
  assert.deepEqual((await studio.curve(id)).points, [[0, 1], [1, 1]], "a preset leaves the own curve alone")
})

test("a drag of a preset's point makes it the own curve, and one undo brings the preset back", async ({ page, studio }) => {
  const { id, plot } = await schedule(page, studio)
  await studio.set(id, "preset", "bell")
  await studio.commit()
  const before = await studio.history()
  await plot.drag(await plot.point(1), await plot.at(0.5, 0.6))
  await studio.settle()
  assert.equal(await studio.get(id, "preset"), "custom")
  assert.equal(await studio.get(id, "context"), 0.2)
  const curve = await studio.curve(id)
  near(curve.points, [[0.2, 0.2], [0.5, 0.6], [1, 0.2]])
  assert.equal(curve.interpolation, "monotone_cubic")
  await studio.until((undo) => window.studio.tracker.undoQueue.length === undo, before.undo + 1)
  const sent = (await studio.prompt())[id].inputs
  assert.deepEqual(JSON.parse(sent.curve), curve)
  assert.equal(sent.preset, "custom")
  await studio.undo()
  assert.equal(await studio.get(id, "preset"), "bell")
  near((await (await Plot.of(page, studio, id)).drawn()).points, BELL)
  await studio.redo()
  assert.deepEqual(await studio.curve(id), curve)
  near((await (await Plot.of(page, studio, id)).drawn()).points, curve.points)
})

test("a point stops at its neighbours", async ({ page, studio }) => {
  const { id, plot } = await schedule(page, studio, { preset: "bell" })
  await plot.drag(await plot.point(1), await plot.at(0.05, 0.5))
  near((await studio.curve(id)).points, [[0.2, 0.2], [0.2, 0.5], [1, 0.2]])
})

test("the edge of the context is dragged", async ({ page, studio }) => {
  const { id, plot } = await schedule(page, studio)
  await plot.drag(await plot.grip(), await plot.at(0.5, 0.4))
  assert.equal(await studio.get(id, "preset"), "custom")
  assert.ok(Math.abs((await studio.get(id, "context")) - 0.5) < 0.02)
  await studio.until(() => window.studio.tracker.undoQueue.length > 0)
  await studio.undo()
  assert.deepEqual([await studio.get(id, "preset"), await studio.get(id, "context")], ["balanced", 0.2])
})

test("a click on the curve adds a point there, a double click on an empty place one at that place", async ({ page, studio }) => {
  const { id, plot } = await schedule(page, studio, { preset: "ramp up" })
  await plot.click(await plot.at(0.6, 0.6))
  near((await studio.curve(id)).points, [[0.2, 0.2], [0.6, 0.6], [1, 1]])
  const place = await plot.at(0.4, 0.85)
  await plot.click(place)
  assert.equal((await studio.curve(id)).points.length, 3, "one click on an empty place changes nothing")
  await page.waitForTimeout(600)
  await page.mouse.dblclick(place.x, place.y)
  near((await studio.curve(id)).points, [[0.2, 0.2], [0.4, 0.85], [0.6, 0.6], [1, 1]])
  assert.equal(await page.locator(".p-dialog, .litesearchbox, .comfy-vue-node-search-container").count(), 0, "no search")
})

test("the context menu adds, deletes and sets the interpolation", async ({ page, studio }) => {
  const { id, plot } = await schedule(page, studio)
  await plot.click(await plot.at(0.5, 0.5), { button: "right" })
  await plot.choose("Add point here")
  near((await studio.curve(id)).points, [[0, 1], [0.5, 0.5], [1, 1]])
  await plot.click(await plot.at(0.8, 0.2), { button: "right" })
  await plot.choose("Steps")
  assert.equal((await studio.curve(id)).interpolation, "step")
  await plot.click(await plot.point(1), { button: "right" })
  await plot.choose("Delete point")
  near((await studio.curve(id)).points, [[0, 1], [1, 1]])
  await plot.click(await plot.point(1), { button: "right" })
  assert.ok(await page.locator(".safelight-menu button", { hasText: "Delete point" }).isDisabled(), "two points stay")
  await page.keyboard.press("Escape")
  assert.equal(await page.locator(".safelight-menu").count(), 0)
  assert.equal(await page.locator(".litecontextmenu, .p-contextmenu").count(), 0, "the page's own menu stays away")
})

test("the menu by keyboard: it has the focus, and gives it back to the point", async ({ page, studio }) => {
  const { id, plot } = await schedule(page, studio, { preset: "bell" })
  await plot.focus(1)
  await page.keyboard.press("Shift+F10")
  assert.equal(await page.evaluate(() => document.activeElement.textContent), "Add point here")
  await page.keyboard.press("Escape")
  assert.equal(await page.evaluate(() => document.activeElement.getAttribute("aria-label")), "Point 2 of 3")
  await page.keyboard.press("Shift+F10")
  await page.keyboard.press("ArrowDown")
  await page.keyboard.press("Enter")
  near((await studio.curve(id)).points, [[0.2, 0.2], [1, 0.2]])
})

test("a click with Ctrl deletes a point", async ({ page, studio }) => {
  const { id, plot } = await schedule(page, studio, { preset: "bell" })
  await page.keyboard.down("Control")
  await plot.click(await plot.point(1))
  await page.keyboard.up("Control")
  near((await studio.curve(id)).points, [[0.2, 0.2], [1, 0.2]])
})

test("a finger drags a point, and one undo takes it back", async ({ page, studio }) => {
  const { id, plot } = await schedule(page, studio, { preset: "bell" })
  await plot.swipe(await plot.point(1), await plot.at(0.4, 0.5))
  near((await studio.curve(id)).points, [[0.2, 0.2], [0.4, 0.5], [1, 0.2]])
  await studio.undo()
  assert.equal(await studio.get(id, "preset"), "bell")
})

test("two taps add a point", async ({ page, studio }) => {
  const { id, plot } = await schedule(page, studio, { preset: "ramp up" })
  await plot.tapTwice(await plot.at(0.4, 0.9))
  near((await studio.curve(id)).points, [[0.2, 0.2], [0.4, 0.9], [1, 1]], 0.04) // a finger stands on whole pixels
})

test("the keyboard moves, adds and deletes points, each an undo of its own", async ({ page, studio }) => {
  const { id, plot } = await schedule(page, studio, { preset: "bell" })
  const { keyboard } = page
  await plot.focus(1)
  await keyboard.press("ArrowDown")
  await keyboard.press("Shift+ArrowLeft")
  near((await studio.curve(id)).points, [[0.2, 0.2], [0.5, 0.99], [1, 0.2]])
  await keyboard.press("Enter")
  assert.equal((await studio.curve(id)).points.length, 4)
  await keyboard.press("Delete")
  await keyboard.press("Home")
  await keyboard.press("ArrowUp")
  await keyboard.press("End")
  await keyboard.press("Shift+ArrowUp")
  await keyboard.press("PageUp")
  await keyboard.press("ArrowRight")
  near((await studio.curve(id)).points, [[0.2, 0.21], [0.51, 0.99], [1, 0.3]])
  await studio.settle()
  await studio.undo()
  near((await studio.curve(id)).points, [[0.2, 0.21], [0.5, 0.99], [1, 0.3]])
  await studio.undo()
  near((await studio.curve(id)).points, [[0.2, 0.21], [0.5, 0.99], [1, 0.2]])
})

test("Delete in the editor leaves the node", async ({ page, studio }) => {
  const { id, plot } = await schedule(page, studio)
  await studio.select(id)
  await plot.focus(0)
  await page.keyboard.press("Delete")
  await page.keyboard.press("Backspace")
  assert.equal(await studio.get(id, "preset"), "balanced", "two points stay")
})

test("the context's edge by keyboard", async ({ page, studio }) => {
  const { id, plot } = await schedule(page, studio)
  await plot.focus("context")
  await page.keyboard.press("ArrowRight")
  await page.keyboard.press("Shift+ArrowRight")
  assert.ok(Math.abs((await studio.get(id, "context")) - 0.31) < 1e-9)
  assert.match(await plot.element.$eval(".safelight-plot .context", (g) => g.getAttribute("aria-valuetext")), /31 %/)
})

test("Tab goes through the bar, the context and the points, with a ring around what has the focus", async ({ page, studio }) => {
  const { plot } = await schedule(page, studio, { preset: "bell" })
  await (await plot.element.$(".safelight-bar button[role=radio][aria-checked=true]")).focus()
  const seen = []
  for (let i = 0; i < 8; i++) {
    await page.keyboard.press("Tab")
    seen.push(await page.evaluate(() => document.activeElement.getAttribute("aria-label")))
  }
  assert.deepEqual(seen.slice(4), ["Context", "Point 1 of 3", "Point 2 of 3", "Point 3 of 3"], seen.join(", "))
  const ring = await page.evaluate(() => getComputedStyle(document.activeElement.querySelector(".ring")).stroke)
  assert.notEqual(ring, "none")
})

test("a schedule is copied and pasted as JSON by the keyboard, and no node with it", async ({ page, studio }) => {
  const { id, plot } = await schedule(page, studio, { preset: "bell" })
  await studio.select(id)
  await plot.focus(0)
  await page.keyboard.press("Control+c")
  const copied = JSON.parse(await page.evaluate(() => navigator.clipboard.readText()))
  assert.deepEqual(copied, { points: BELL, interpolation: "monotone_cubic", context: 0.2, axis: "noise level" })
  const given = { points: [[0, 0.5], [1, 1]], interpolation: "step", context: 0.4, axis: "steps" }
  await page.evaluate((text) => navigator.clipboard.writeText(text), JSON.stringify(given))
  await page.keyboard.press("Control+v")
  await studio.until((id) => window.studio.widget(id, "preset").value === "custom", id)
  assert.deepEqual(await studio.values(id), {
    preset: "custom", context: 0.4, axis: "steps", curve: JSON.stringify({ points: [[0, 0.5], [1, 1]], interpolation: "step" })
  })
  assert.equal((await studio.save()).nodes.length, 1)
})

test("a pasted text that is no schedule changes nothing and is shown to be corrected", async ({ page, studio }) => {
  const { id, plot } = await schedule(page, studio)
  await page.evaluate(() => navigator.clipboard.writeText('{"points": [[0, 1]'))
  await plot.press("Paste")
  const area = await plot.element.waitForSelector(".safelight-text textarea:visible")
  assert.equal(await area.inputValue(), '{"points": [[0, 1]')
  assert.match(await plot.text(".safelight-text span"), /Not valid JSON/)
  assert.equal(await studio.get(id, "preset"), "balanced")
  await area.fill('{"points": [[0, 1], [1, 0.5]]}')
  await page.locator(".safelight-text button", { hasText: "Use" }).click()
  assert.deepEqual((await studio.curve(id)).points, [[0, 1], [1, 0.5]])
})

test("where the clipboard is refused the text is shown", async ({ page, studio }) => {
  const { plot } = await schedule(page, studio, { preset: "bell" })
  await page.evaluate(() => {
    const refuse = () => Promise.reject(new DOMException("refused", "NotAllowedError"))
    Object.assign(navigator.clipboard, { writeText: refuse, readText: refuse })
  })
  try {
    await plot.press("Copy")
    const area = await plot.element.waitForSelector(".safelight-text textarea:visible")
    assert.deepEqual(JSON.parse(await area.inputValue()).points, BELL)
    await page.keyboard.press("Escape")
    assert.ok(await area.isHidden())
  } finally {
    await page.evaluate(() => {
      delete navigator.clipboard.writeText
      delete navigator.clipboard.readText
    })
  }
})

test("reset gives what a new node has", async ({ page, studio }) => {
  const { id, plot } = await schedule(page, studio)
  const fresh = await studio.values(id)
  await plot.drag(await plot.point(1), await plot.at(0.9, 0.3))
  await plot.drag(await plot.grip(), await plot.at(0.6, 0.5))
  await plot.press("Reset")
  assert.deepEqual(await studio.values(id), fresh)
  assert.deepEqual((await plot.drawn()).points, [[0, 1], [1, 1]])
})

test("the line below says what is under the pointer", async ({ page, studio }) => {
  const { plot } = await schedule(page, studio, { preset: "ramp up" })
  const over = async (p) => {
    const { x, y } = await plot.at(p, 0.1)
    await page.mouse.move(x, y)
    return plot.read()
  }
  assert.match(await over(0.6), /^(59|60|61)[.\d]* % · weight 0\.(59|60|61) × √safety$/)
  assert.match(await over(0.1), /as written alone/)
})

test("zoomed in or out, the editor takes the pointer where it is", async ({ page, studio }) => {
  const { id, plot } = await schedule(page, studio, { preset: "bell" })
  for (const scale of [1.7, 0.8]) {
    await studio.view({ scale, x: 40, y: 20 })
    await page.waitForTimeout(300)
    await plot.drag(await plot.point(1), await plot.at(0.4 + scale / 10, 0.5))
    near((await studio.curve(id)).points, [[0.2, 0.2], [0.4 + scale / 10, 0.5], [1, 0.2]])
  }
})

test("the colours follow the page's theme", { skip: !since("1.49.6") && "a page with one palette at hand" }, async ({ page, studio }) => {
  const { plot } = await schedule(page, studio)
  const ground = () => plot.element.evaluate((editor) => getComputedStyle(editor).backgroundColor)
  const dark = await ground()
  try {
    await studio.setting("Comfy.ColorPalette", "light")
    await page.waitForTimeout(500)
    assert.notEqual(await ground(), dark)
  } finally {
    await studio.setting("Comfy.ColorPalette", "dark")
  }
})

test("nothing glides where less motion is asked for", async ({ page, studio }) => {
  const { plot } = await schedule(page, studio)
  const glides = () => plot.element.$eval(".handle", (handle) => getComputedStyle(handle).transitionDuration)
  assert.notEqual(await glides(), "0s")
  await page.emulateMedia({ reducedMotion: "reduce" })
  try {
    assert.equal(await glides(), "0s")
  } finally {
    await page.emulateMedia({ reducedMotion: null })
  }
})

test("the plot fills a larger node, and comes back after the node was collapsed", async ({ page, studio }) => {
  const { id, plot } = await schedule(page, studio, { preset: "bell" })
  const width = async () => (await (await plot.element.$(".safelight-plot .frame")).boundingBox()).width
  const before = await width()
  const act = (name, ...given) =>
    page.evaluate(([id, name, given]) => {
      const node = window.studio.node(id)
      node[name](...given)
      node.setDirtyCanvas(true, true)
    }, [id, name, given])
  await act("setSize", [600, 420])
  await page.waitForTimeout(600)
  const large = await width()
  assert.ok(large > before + 150, `${before} to ${large}`)
  await act("collapse")
  await page.waitForTimeout(400)
  assert.ok(await page.locator(".safelight-editor").isHidden())
  await act("collapse")
  await page.waitForTimeout(600)
  const again = await Plot.of(page, studio, id)
  near((await again.drawn()).points, BELL)
  await again.drag(await again.point(1), await again.at(0.5, 0.5))
  near((await studio.curve(id)).points, [[0.2, 0.2], [0.5, 0.5], [1, 0.2]])
})
