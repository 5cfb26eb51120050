// The node search finds Safelight Easy by the words for it (its SEARCH_ALIASES), but ranks nodes by their names alone: for
// "nsfw" a node that is used often and has "transform" among its words comes before one whose word it is.

const NEAR = 0.25 // of the search's own distance: the word itself, not one that is like it
const IN_NAME = 1 // kind of a match: the name begins with what was typed

/**
 * Newer pages let a definition have a say in its own rank, smallest first: [kind of match, ..., distance]. Other pages
 * don't ask.
 * @param {object} defs the page's definitions of nodes, by type
 */
export function leadSearch(defs) {
  const easy = defs.SafelightEasy
  if (!easy) return
  easy.postProcessSearchScores = (scores) => (scores[0] <= IN_NAME || scores.at(-1) < NEAR ? [-1, ...scores.slice(1)] : scores)
}
