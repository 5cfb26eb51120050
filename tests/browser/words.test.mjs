// What the page finds by itself: texts in the artist's language, settings, the about badge, help with its pictures.
import assert from "node:assert/strict"
import { readFileSync } from "node:fs"
import { test } from "./harness.mjs"
import { OURS } from "./studio.mjs"

const ROOT = new URL("../../", import.meta.url)
const chinese = (file) => JSON.parse(readFileSync(new URL(`locales/zh/${file}.json`, ROOT), "utf8"))

/** The page's own command, and what it opens. */
const open = (page, command) => page.evaluate((id) => window.studio.app.extensionManager.command.execute(id), command)

test("in Chinese, nodes, slider and feedback are Chinese", { settings: { "Comfy.Locale": "zh" } }, async ({ page, studio }) => {
  const nodes = chinese("nodeDefs")
  const { level, feedback } = chinese("main").safelight
  for (const type of OURS) {
    const id = await studio.add(type)
    const shown = await page.evaluate((id) => {
      const node = window.studio.node(id)
      return { title: node.title, inputs: node.inputs.map((slot) => [slot.name, slot.label ?? slot.localized_name]) }
    }, id)
    assert.equal(shown.title, nodes[type].display_name)
    for (const [name, text] of shown.inputs) assert.equal(text, nodes[type].inputs[name].name, `${type}.${name}`)
  }
  const id = await studio.add("SafelightKSampler", { values: { safety: 0.5 } })
  const label = await page.evaluate((id) => window.studio.widget(id, "safety").label, id)
  assert.equal(label.replace(/\u200a+$/, ""), `${nodes.SafelightKSampler.inputs.safety.name} · ${level.medium}`)
  await studio.executed(id, { safelight_report: ["{"] })
  const element = await studio.element(id, "safelight_feedback")
  assert.ok((await element.textContent()).includes(feedback.broken.replace("{why}", feedback.unreadable)))
})

test("in Chinese a template's notes and titles are Chinese, and a saved workflow's titles stay", { settings: { "Comfy.Locale": "zh" } }, async ({ studio }) => {
  const { templates } = chinese("main").safelight
  const template = JSON.parse(readFileSync(new URL("workflows/12 A strip of five.json", ROOT), "utf8"))
  await studio.load(template)
  const { nodes, groups } = await studio.save()
  assert.equal(nodes.find(({ type }) => type === "MarkdownNote").widgets_values[0], templates[template.nodes.find(({ type }) => type === "MarkdownNote").widgets_values[0]])
  assert.deepEqual(nodes.map(({ id, title }) => [id, title]).filter(([, title]) => title === "Start here" || title === "Prompt"), [])
  assert.deepEqual(groups.map(({ title }) => title), template.groups.map(({ title }) => templates[title] ?? title))
  const own = { ...template, nodes: template.nodes.filter(({ type }) => type !== "MarkdownNote") }
  await studio.load(own)
  assert.deepEqual((await studio.save()).groups.map(({ title }) => title), template.groups.map(({ title }) => title))
})

test("help in the page's language is where the page looks for it, with its details", { settings: { "Comfy.Locale": "zh" } }, async ({ page }) => {
  const text = await page.evaluate(async () => (await fetch("/extensions/safelight/docs/SafelightKSampler/zh.md")).text())
  assert.ok(text.startsWith(`# ${chinese("nodeDefs").SafelightKSampler.display_name}\n`) && text.includes("<summary>Inputs</summary>"))
})

test("the about panel names the version and links the paper", async ({ page }) => {
  const version = readFileSync(new URL("pyproject.toml", ROOT), "utf8").match(/^version = "(.+)"$/m)[1]
  await open(page, "Comfy.Help.AboutComfyUI")
  const badge = page.getByRole("link").filter({ hasText: `Safelight ${version}` })
  await badge.waitFor()
  assert.equal(await badge.getAttribute("href"), "https://arxiv.org/abs/2411.13982")
  await page.keyboard.press("Escape")
})

test("two settings, and no other command, menu or key of ours", async ({ page }) => {
  const [ids, extras] = await page.evaluate(() => {
    const { app } = window.studio
    const ours = app.extensions.filter(({ name }) => name.startsWith("Safelight"))
    const extras = ["commands", "keybindings", "menuCommands", "bottomPanelTabs", "topbarBadges", "actionBarButtons"]
    return [ours.flatMap(({ settings }) => settings.map(({ id }) => id)), extras.filter((key) => ours.some((entry) => entry[key]?.length))]
  })
  assert.deepEqual([ids, extras], [["Safelight.Schedule.DefaultPreset", "Safelight.Feedback.Show"], []])
})
