/** An element with a class, text content and children. */
export function make(tag, name, text = "", children = []) {
  const element = document.createElement(tag)
  if (name) element.className = name
  element.textContent = text
  element.append(...children)
  return element
}
