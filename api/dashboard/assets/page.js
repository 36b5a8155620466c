// Shows a lost connection, reloads a release page whose form is out of date, and keeps forms from being sent twice. The pages work
// without it.
;(() => {
  const connection = document.getElementById('connection')
  let lostAt
  const shown = document.querySelector('[data-stage]')?.dataset.stage
  const lost = () => {
    if (connection === null || lostAt !== undefined) return
    lostAt = new Date()
    const time = lostAt.toISOString().slice(11, 19)
    connection.textContent = `Connection lost at ${time} UTC. Retrying…`
  }
  const found = () => {
    if (connection === null || lostAt === undefined) return
    lostAt = undefined
    connection.textContent = ''
  }
  document.addEventListener('htmx:error', lost)
  document.addEventListener('htmx:response:error', lost)
  document.addEventListener('htmx:after:swap', found)
  // The form shows an earlier stage than the page around it: reload, unless a reason has been typed.
  document.addEventListener('htmx:after:swap', () => {
    const stage = document.querySelector('[data-stage]')?.dataset.stage
    const form = document.querySelector('form[data-shows]')
    if (stage === undefined || stage === (form?.dataset.shows ?? shown)) return
    const typed = form?.querySelector('textarea')?.value.trim()
    if (typed) document.getElementById('moved')?.removeAttribute('hidden')
    else location.reload()
  })
  // A reload of a part closes the details in it.
  const opened = new Map()
  document.addEventListener('click', (event) => {
    const details = event.target.closest?.('summary')?.parentElement
    if (details?.id) opened.set(details.id, !details.open)
  })
  document.addEventListener('htmx:after:swap', () => {
    for (const [id, open] of opened) document.getElementById(id)?.toggleAttribute('open', open)
  })
  // On a narrow screen the navigation scrolls: show the page in it.
  const current = document.querySelector('.top nav [aria-current]')
  const list = current?.closest('ul')
  if (list) list.scrollLeft = current.offsetLeft - (list.clientWidth - current.offsetWidth) / 2
  document.addEventListener('submit', (event) => {
    if (event.target.method !== 'post') return
    // Deferred, because a disabled button is not part of the form data.
    setTimeout(() => {
      for (const button of event.target.querySelectorAll('button')) button.disabled = true
    })
  })
  // A page restored by the back button can be sent again.
  window.addEventListener('pageshow', () => {
    for (const button of document.querySelectorAll('form[method=post] button')) button.disabled = false
  })
})()
