// A node that shows its pictures itself: the page, which would show them too, leaves that be. It knows nodes alone.

const PAGE_WIDGET = "$$canvas-image-preview" // where newer pages draw a node's pictures in the classic canvas

/** In Nodes 2.0: before the node has pictures, since the page looks only once. */
export function claimPictures(node) {
  node.hideOutputImages = true
}

/** In the classic canvas: while the node has something of its own to show. Live previews come there till then. */
export function coverPictures(node) {
  claimPictures(node)
  node.onDrawBackground = () => {}
  node.imgs = undefined
  const at = (node.widgets ?? []).findIndex(({ name }) => name === PAGE_WIDGET)
  if (at >= 0) node.widgets.splice(at, 1)
}

/** The page shows the node's pictures again. */
export function uncoverPictures(node) {
  delete node.hideOutputImages
  delete node.onDrawBackground
  node.images = undefined // so that the page draws them anew
}
