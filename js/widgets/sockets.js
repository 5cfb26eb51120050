// An input that is always a socket, on the page of the package index build. It knows nodes, not the application.

/**
 * Takes away the hidden widgets behind a new node's sockets, which that page makes and newer ones don't: a widget's value
 * has a place in the saved workflow, so that the values behind it would stand one place off on the other page.
 */
export function bareSockets(node) {
  const hidden = (node.widgets ?? []).filter((widget) => widget.options?.forceInput)
  for (const widget of hidden) {
    const { required, optional } = node.constructor.nodeData.input
    node.widgets.splice(node.widgets.indexOf(widget), 1)
    node.addInput(widget.name, { ...required, ...optional }[widget.name][0])
  }
}
