// What the pages do in the browser beside htmx: say when what they show has stopped being renewed, and keep a form from being sent
// twice. They work without it.
;(() => {
  const connection = document.getElementById('connection')
  let lostAt
  const shown = document.querySelector('[data-stage]')?.dataset.stage
  const lost = () => {
    if (connection === null || lostAt !== undefined) return
    lostAt = new Date()
    const time = lostAt.toTimeString().slice(0, 8)
    connection.textContent = `No answer since ${time}. What is shown may be out of date; it is asked for again by itself.`
  }
  const found = () => {
    if (connection === null || lostAt === undefined) return
    lostAt = undefined
    connection.textContent = ''
  }
  document.addEventListener('htmx:error', lost)
  document.addEventListener('htmx:response:error', lost)
  document.addEventListener('htmx:after:swap', found)
  // A form that shows an earlier stage than the page around it: renewed by itself while nobody has typed into it.
  document.addEventListener('htmx:after:swap', () => {
    const stage = document.querySelector('[data-stage]')?.dataset.stage
    const form = document.querySelector('form[data-shows]')
    if (stage === undefined || stage === (form?.dataset.shows ?? shown)) return
    const typed = form?.querySelector('textarea')?.value.trim()
    if (typed) document.getElementById('moved')?.removeAttribute('hidden')
    else location.reload()
  })
  document.addEventListener('submit', (event) => {
    if (event.target.method !== 'post') return
    // After the browser has taken down which button was pressed.
    setTimeout(() => {
      for (const button of event.target.querySelectorAll('button')) button.disabled = true
    })
  })
  // A page that comes back from the browser's memory can be sent again.
  window.addEventListener('pageshow', () => {
    for (const button of document.querySelectorAll('form[method=post] button')) button.disabled = false
  })
})()
