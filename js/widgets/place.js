// Keeps a DOM widget's element on the page when its node is built anew.
//
// Undo, and opening a workflow, make new nodes with the ids of the old. Nodes 2.0 then goes on showing the element that it
// mounted for the old node (seen on frontends 1.49.6 and 1.58.1): an editor that edits nothing any more.
import { chain } from "./chain.js"

const left = new Map() // by node id and widget: the element of a node that has gone, weakly

/**
 * @param {object} node the widget's node
 * @param {string} name the widget's name
 * @param {HTMLElement} element the widget's element; takes the place of the one that a node of the same id left behind
 */
export function holdPlace(node, name, element) {
  const key = () => `${node.id} ${name}`
  const take = () =>
    requestAnimationFrame(() => {
      const old = left.get(key())?.deref()
      left.delete(key())
      if (old !== element && old?.isConnected && !element.isConnected) old.replaceWith(element)
    })
  chain(node, "onAdded", take)
  chain(node, "onRemoved", () => left.set(key(), new WeakRef(element)))
  if (node.graph) take()
}
