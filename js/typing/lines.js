// The artist's lines "word = stand-in", and a prompt cut at the places that the server names. Pure: no page, no host.

/** The words on a line's left side, as the server writes them; "" for a line without a sign. */
const keyOf = (line) => (line.includes("=") ? line.slice(0, line.indexOf("=")).trim().toLowerCase().replace(/\s+/g, " ") : "")

/** The lines without those for these words. */
export const withoutLine = (lines, key) => lines.split("\n").filter((line) => keyOf(line) !== key).join("\n")

/** The lines with one for these words at the end, in the place of what was there for them. */
export function withLine(lines, key, standIn) {
  const others = withoutLine(lines, key).replace(/\n+$/, "")
  return `${others && `${others}\n`}${key} = ${standIn}`.trimEnd()
}

/**
 * A prompt in pieces.
 * @param {string} prompt
 * @param {{start: number, stop: number}[]} places in their order, counted in characters as Python does
 * @returns {{text: string, place: ?object}[]}
 */
export function cut(prompt, places) {
  const signs = [...prompt]
  const pieces = []
  let at = 0
  for (const place of places) {
    if (place.start > at) pieces.push({ text: signs.slice(at, place.start).join(""), place: null })
    pieces.push({ text: signs.slice(place.start, place.stop).join(""), place })
    at = place.stop
  }
  if (at < signs.length) pieces.push({ text: signs.slice(at).join(""), place: null })
  return pieces
}
