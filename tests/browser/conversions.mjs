// The workflows, and the prompts that runner/workflow.py makes of them.
import assert from "node:assert/strict"
import { spawnSync } from "node:child_process"
import { readdirSync, readFileSync } from "node:fs"

const ROOT = new URL("../../", import.meta.url)
const FOLDER = new URL("workflows/", ROOT)
const PYTHON = process.platform === "win32" ? "python" : "python3"
const CONVERT = `
import json, sys
from runner import workflow
given = json.load(sys.stdin)
json.dump({name: workflow.to_prompt(page, given["nodes"]) for name, page in given["pages"].items()}, sys.stdout)`

/** {name: workflow} of the files in workflows/. */
export const pages = {}
for (const file of readdirSync(FOLDER).filter((name) => name.endsWith(".json"))) {
  pages[file.replace(".json", "")] = JSON.parse(readFileSync(new URL(file, FOLDER), "utf8"))
}

/** A workflow as the page saved it before the schedule's curve was text. */
export const earlier = JSON.parse(readFileSync(new URL("earlier/safelight_text_to_image.json", import.meta.url), "utf8"))

/** {name: prompt} of workflows, by what a server says of its nodes (its object_info). */
export function conversions(nodes, workflows = pages) {
  const input = JSON.stringify({ nodes, pages: workflows })
  const done = spawnSync(PYTHON, ["-c", CONVERT], { cwd: ROOT, input, maxBuffer: 2 ** 24 })
  assert.equal(done.status, 0, String(done.stderr))
  return JSON.parse(done.stdout)
}

/** A prompt of the page without what it notes beside each node. */
export const bare = (prompt) =>
  Object.fromEntries(Object.entries(prompt).map(([id, { class_type, inputs }]) => [id, { class_type, inputs }]))

/** A prompt without a checkpoint's name where the server has none, which the page and the converter write differently. */
export const withoutNone = (prompt) => Object.fromEntries(Object.entries(prompt).map(([id, node]) => {
  const { ckpt_name: checkpoint, ...inputs } = node.inputs
  return [id, checkpoint ? node : { ...node, inputs }]
}))
