// A node's height in Nodes 2.0. The page reckons it with the advanced inputs, which it does not show, so that a sampler has
// an empty lower half. It knows nodes alone.

/** Leaves the advanced inputs out of a new node's height as long as they are not shown. */
export function withoutAdvanced(node) {
  // What the page asks of each widget: the first on newer pages, the second on older ones.
  const ask = node.isWidgetRowVisible ? "isWidgetRowVisible" : "isWidgetVisible"
  const shown = node[ask]
  if (!shown || !node.widgets?.some((widget) => widget.options?.advanced)) return
  const folded = (widget) => window.LiteGraph.vueNodesMode && widget.options?.advanced && !node.showAdvanced
  node[ask] = (widget) => !folded(widget) && shown.call(node, widget)
  if (window.LiteGraph.vueNodesMode) node.setSize([node.size[0], node.computeSize()[1]])
}
