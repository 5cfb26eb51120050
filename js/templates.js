// This pack's templates in the page's language: their notes, and the titles of their nodes and groups. This knows the shape
// of saved workflows, and no page.

const NOTES = ["MarkdownNote", "Note"]

/**
 * @param {object} workflow as saved, about to be opened: changed where it has a note of a template, as it was written.
 *   Other workflows keep their own words, whatever these are.
 * @param {Record<string, string>} translations by the English text
 */
export function translateTemplate(workflow, translations) {
  const said = (text) => (Object.hasOwn(translations, text) ? translations[text] : text)
  const graphs = [workflow, ...(workflow.definitions?.subgraphs ?? [])]
  const nodes = graphs.flatMap((graph) => graph.nodes ?? [])
  const notes = nodes.filter(({ type, widgets_values: values }) => NOTES.includes(type) && Object.hasOwn(translations, values?.[0]))
  if (!notes.length) return
  for (const note of notes) note.widgets_values[0] = said(note.widgets_values[0])
  for (const node of nodes) if (node.title) node.title = said(node.title)
  for (const group of graphs.flatMap(({ groups }) => groups ?? [])) group.title = said(group.title)
}
