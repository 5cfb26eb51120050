// Fixtures of the browser tests: one browser and one page for a whole run, an empty graph for every test.
//
//   import { test, FRONTEND, MODE, since } from "./harness.mjs"
//   import assert from "node:assert/strict"
//   test("what holds", async ({ page, studio }) => { ... })
//   test("what holds", { skip: MODE !== "nodes2" && "a matter of Nodes 2.0" }, async ({ page, studio }) => { ... })
//   test("what holds", { objectInfo: (nodes) => { ... } }, ...)   on a page of its own, whose list of nodes is changed
//   test("what holds", { settings: { "Comfy.Locale": "zh" } }, ...)   on a page of its own that starts with these settings
//
// `page` is Playwright's, `studio` is studio.mjs's. A test fails, too, when the console shows a word of ours or the page
// throws. After a failed test the page is loaded anew. Environment:
//   SAFELIGHT_URL       the server, http://127.0.0.1:8188 if unset
//   SAFELIGHT_MODE      classic (the default) or nodes2
//   SAFELIGHT_FRONTEND  the frontend's version, for `since`
//   SAFELIGHT_HOST      stand-in (the default) or the version of a real ComfyUI
//   CHROMIUM            the browser's program
// By hand: python tests/browser/standin.py FRONTEND, then node --test tests/browser/page.test.mjs

import { existsSync } from "node:fs"
import { after, test as nodeTest } from "node:test"
import { chromium } from "playwright-core"
import { Studio } from "./studio.mjs"

export const URL = process.env.SAFELIGHT_URL ?? "http://127.0.0.1:8188"
export const MODE = process.env.SAFELIGHT_MODE ?? "classic"
export const FRONTEND = process.env.SAFELIGHT_FRONTEND ?? ""
export const HOST = process.env.SAFELIGHT_HOST ?? "stand-in"

const BROWSERS = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"]
const OURS = "/extensions/safelight/"
const PATIENCE = 90_000 // ms, for what a loaded machine may take long over
const SETTINGS = {
  "Comfy.Locale": "en",
  "Comfy.TutorialCompleted": true,
  "Comfy.Notification.ShowVersionUpdates": false,
  "Comfy.Minimap.Visible": false,
  "Comfy.VueNodes.Enabled": MODE === "nodes2"
}

/** Whether the frontend under test is `version` or newer, such as since("1.49.6"); true where it is not named. */
export function since(version) {
  if (!FRONTEND) return true
  const [have, asked] = [FRONTEND, version].map((text) => text.split(".").map(Number))
  const at = asked.findIndex((number, i) => number !== have[i])
  return at < 0 || have[at] > asked[at]
}

let browser
let shared // the page and its studio, kept from test to test

async function open({ objectInfo, settings } = {}) {
  browser ??= await chromium.launch({
    executablePath: process.env.CHROMIUM ?? BROWSERS.find(existsSync),
    // Nothing outside this machine is asked: the page looks for news of its own.
    args: ["--no-sandbox", "--disable-gpu", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"]
  })
  const context = await browser.newContext({
    viewport: { width: 1400, height: 900 },
    hasTouch: true,
    permissions: ["clipboard-read", "clipboard-write"]
  })
  const page = await context.newPage()
  page.setDefaultTimeout(30_000)
  const faults = []
  page.on("pageerror", (error) => {
    const thrown = `thrown: ${error.stack ?? error}`
    if (thrown.includes(OURS) || !thrown.includes("addSetting")) faults.push(thrown) // 1.27.10 throws as it comes up
  })
  page.on("console", (message) => {
    const said = `${message.text()} (${message.location().url})`
    if (["error", "warning"].includes(message.type()) && said.includes(OURS)) faults.push(`${message.type()}: ${said}`)
  })
  const studio = new Studio(page, { mode: MODE })
  await studio.listen()
  if (objectInfo) {
    await page.route("**/object_info", async (route) => {
      const nodes = await (await route.fetch()).json()
      await route.fulfill({ json: objectInfo(nodes) ?? nodes })
    })
  }
  const stored = await fetch(`${URL}/api/settings`, { method: "POST", body: JSON.stringify({ ...SETTINGS, ...settings }) })
  if (!stored.ok) throw new Error(`${URL} does not take settings: ${stored.status}`)
  await page.goto(URL, { timeout: PATIENCE })
  await studio.ready(PATIENCE)
  return { page, studio, faults, context }
}

/** Like node's test, with the fixtures {page, studio}; see the top of this file. */
export function test(name, ...rest) {
  const body = rest.at(-1)
  const { objectInfo, settings, ...options } = rest.length > 1 ? rest[0] : {}
  nodeTest(name, options, async (t) => {
    const own = objectInfo || settings ? await open({ objectInfo, settings }) : null
    const tab = own ?? (shared ??= await open())
    let passed = false
    try {
      await tab.studio.clear()
      await body({ page: tab.page, studio: tab.studio, t })
      await tab.studio.settle()
      const faults = tab.faults.splice(0)
      if (faults.length) throw new Error(`the page is not silent:\n${faults.join("\n")}`)
      passed = true
    } finally {
      if (!passed && process.env.SAFELIGHT_PICTURES) {
        const file = `${process.env.SAFELIGHT_PICTURES}/${name.replace(/\W+/g, "_")}.png`
        await tab.page.screenshot({ path: file }).catch(() => {})
      }
      if (own || !passed) await tab.context.close()
      if (tab === shared && !passed) shared = undefined
    }
  })
}

after(() => browser?.close())
