/** Scripts that show the notice of a lost connection on a page. */

/**
 * Fires the htmx event for an unreachable server on a page with reloading parts. Returns the notice and its context: the notice without its
 * time, the HTML around it and the styles of the page.
 */
export const loseConnection = `(() => {
  if (document.querySelector('[hx-get]') === null) return undefined
  document.dispatchEvent(new Event('htmx:error'))
  const notice = document.querySelector('#connection')
  const around = []
  for (let part = notice.parentElement; part; part = part.parentElement) around.push(part.cloneNode(false).outerHTML)
  const styles = [...document.styleSheets].map(({ href }) => href)
  const found = notice.outerHTML.replace(/\\d{4}-[\\d-]+T[\\d:.]+Z|\\d\\d:\\d\\d:\\d\\d/g, 'then')
  const text = notice.textContent
  notice.textContent = ''
  return { text, place: JSON.stringify([found, around, styles]) }
})()`

/** Shows the notice and keeps it visible when a response arrives. */
export const keepNotice = (text: string) => `(() => {
  window.addEventListener('htmx:after:swap', (event) => event.stopImmediatePropagation(), true)
  document.querySelector('#connection').textContent = ${JSON.stringify(text)}
})()`
