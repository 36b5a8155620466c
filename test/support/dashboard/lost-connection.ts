/** Scripts that show the notice of a lost connection on a page. */

/**
 * As htmx tells that the server did not answer, on a page that reloads parts of itself. Returns the notice, and its place: the notice,
 * whatever its time, with all of the page that it stands in and the styles of the page.
 */
export const loseConnection = `(() => {
  if (document.querySelector('[hx-get]') === null) return undefined
  document.dispatchEvent(new Event('htmx:error'))
  const notice = document.querySelector('#connection')
  const around = []
  for (let part = notice.parentElement; part; part = part.parentElement) around.push(part.cloneNode(false).outerHTML)
  const styles = [...document.styleSheets].map(({ href }) => href)
  const found = notice.outerHTML.replace(/\\d\\d:\\d\\d:\\d\\d/, 'then')
  const text = notice.textContent
  notice.textContent = ''
  return { text, place: JSON.stringify([found, around, styles]) }
})()`

/** Shows the notice, and keeps it when an answer comes. */
export const keepNotice = (text: string) => `(() => {
  window.addEventListener('htmx:after:swap', (event) => event.stopImmediatePropagation(), true)
  document.querySelector('#connection').textContent = ${JSON.stringify(text)}
})()`
