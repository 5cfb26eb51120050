/** Lets `after` run behind a method that the page or another pack may have set on an object. */
export function chain(object, method, after) {
  const before = object[method]
  object[method] = function (...given) {
    const answer = before?.apply(this, given)
    after()
    return answer
  }
}
