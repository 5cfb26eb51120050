// What the server is asked about a node's prompt. It knows nodes and links, not the application.
import { isLinked, sourceOf, typeBehind } from "../schedule/linked.js"

const INPUTS = ["prompt", "safe_prompt", "concepts", "stand_ins", "false_alarms"]

/**
 * @param {object} node SafelightPrompt, SafelightContextEncode or SafelightEasy
 * @returns {?object} the inputs by name, and the node that loads the text encoder; null where there is nothing to read,
 *   a link hides a part of it, or the safe counterpart will be no text
 */
export function questionOf(node) {
  const has = (name) => node.widgets?.some((widget) => widget.name === name) || node.inputs?.some((input) => input.name === name)
  const question = { loader: typeBehind(node, "clip") }
  for (const name of INPUTS.filter(has)) {
    const { value } = sourceOf(node, name)
    if (value === undefined) return null
    question[name] = value
  }
  if (typeof question.prompt !== "string" || !question.prompt.trim()) return null
  if (!has("method")) return question
  const { value: method } = sourceOf(node, "method")
  const typed = Boolean(question.safe_prompt?.trim())
  if (method === "rewrite") return { ...question, safe_prompt: "" }
  if (method === "typed") return typed ? question : null
  return method === "auto" && (typed || !isLinked(node, "vector")) ? question : null
}

/** The widget that holds the artist's lines; undefined where they come from a link, or the node has none. */
export const standInsOf = (node) => sourceOf(node, "stand_ins").widget
