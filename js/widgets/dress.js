/**
 * Puts a style sheet into the document, once.
 * @param {string} name of the sheet: its element's id
 * @param {string} css
 */
export function dress(name, css) {
  if (document.getElementById(name)) return
  const sheet = document.createElement("style")
  sheet.id = name
  sheet.textContent = css
  document.head.append(sheet)
}
