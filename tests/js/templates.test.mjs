import assert from "node:assert/strict"
import { test } from "node:test"
import { translateTemplate } from "../../js/templates.js"

const WORDS = { "1. Press **Run**.": "1. 点击**运行**。", Plain: "原版", Words: "文字" }
const workflow = (note) => ({
  nodes: [{ type: "MarkdownNote", widgets_values: [note] }, { type: "KSampler", title: "Plain" }, { type: "KSampler", title: "constructor" }],
  groups: [{ title: "Words" }, { title: "Mine" }],
  definitions: { subgraphs: [{ nodes: [{ type: "VAEDecode", title: "Plain" }, { type: "Reroute" }] }] }
})

test("a template's notes and titles are in the page's language, in subgraphs too", () => {
  const opened = workflow("1. Press **Run**.")
  translateTemplate(opened, WORDS)
  assert.equal(opened.nodes[0].widgets_values[0], "1. 点击**运行**。")
  assert.deepEqual(opened.nodes.slice(1).map(({ title }) => title), ["原版", "constructor"])
  assert.deepEqual(opened.groups.map(({ title }) => title), ["文字", "Mine"])
  assert.deepEqual(opened.definitions.subgraphs[0].nodes, [{ type: "VAEDecode", title: "原版" }, { type: "Reroute" }])
})

test("a workflow without a note of ours keeps its titles", () => {
  for (const note of ["mine", "toString", "1. Press **Run**. Mine."]) {
    const opened = workflow(note)
    translateTemplate(opened, WORDS)
    assert.deepEqual(opened, workflow(note))
  }
  const empty = { nodes: [{ type: "MarkdownNote" }] }
  translateTemplate(empty, WORDS)
  assert.deepEqual(empty, { nodes: [{ type: "MarkdownNote" }] })
})
