// Shows a lost connection, follows changes, opens the search, tells the server the reader's zone, shows near times as relative, reloads a
// release page whose form is out of date, and keeps forms from being sent twice. The pages work without it.
;(() => {
  // The server writes times in the zone of a cookie. A page in another zone, the first of a browser, is loaded again.
  const shownZone = document.querySelector('[data-zone]').dataset.zone
  const zoneInCookie = () => /(?:^|; )tenure_zone=([^;]*)/.exec(document.cookie)?.[1]
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone
  if (zone && zoneInCookie() !== zone) {
    const secure = location.protocol === 'https:' ? '; secure' : ''
    document.cookie = `tenure_zone=${zone}; path=/; max-age=31536000; samesite=lax${secure}`
    if (zone !== shownZone && zoneInCookie() === zone) {
      // An address with a hash is not loaded again by replace(); reload() would send the form of a result again.
      if (location.hash === '') location.replace(location.href)
      else location.reload()
    }
  }
  // The link to another device has its code behind the #, which no server and no log sees.
  const keyField = document.querySelector('form[action="/sign-in"] #key')
  // The link of an alert has a hash too, and leads here from a browser that is not signed in.
  if (keyField && /^#[0-9A-Z]{4}-[0-9A-Z]{4}$/.test(location.hash)) keyField.value = location.hash.slice(1)
  const connection = document.getElementById('connection')
  let lostAt
  const shown = document.querySelector('[data-stage]')?.dataset.stage
  const lost = () => {
    if (connection === null || lostAt !== undefined) return
    lostAt = new Date()
    const time = document.createElement('time')
    time.dateTime = lostAt.toISOString()
    time.textContent = lostAt.toLocaleTimeString('sv-SE', { timeZone: shownZone })
    connection.replaceChildren('Connection lost at ', time, '. Retrying…')
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
    const bar = document.getElementById('decide')
    if (stage === undefined || stage === (bar?.dataset.shows ?? shown)) return
    const typed = bar?.querySelector('.reasons :checked, .reasons [name=reason]:not(:placeholder-shown)')
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
  // Elements that the server has rendered take the places of those with their ids. The focus stays on the same link.
  const swapIn = (part, { parts, order }) => {
    const rows = part.querySelector('tbody')
    const held = part.contains(document.activeElement) ? document.activeElement : undefined
    const around = held?.closest('tr, section, header')?.id
    for (const html of parts) {
      const box = document.createElement('template')
      box.innerHTML = html
      const next = box.content.firstElementChild
      const shown = document.getElementById(next.id)
      if (shown) shown.replaceWith(next)
      else rows.append(next)
      htmx.process(next)
    }
    if (order) {
      for (const row of rows.querySelectorAll('tr')) if (!order.includes(row.id)) row.remove()
      for (const [i, id] of order.entries()) {
        const row = document.getElementById(id)
        if (rows.children[i] !== row) rows.insertBefore(row, rows.children[i])
      }
    }
    if (held && document.activeElement !== held) {
      const links = around ? [...(document.getElementById(around)?.querySelectorAll('a') ?? [])] : []
      const same = links.find((link) => link.href === held.href)
      ;(held.isConnected ? held : same)?.focus({ preventScroll: true })
    }
    part.dispatchEvent(new Event('htmx:after:swap', { bubbles: true }))
  }
  // A part with a stream reloads at each change, or swaps in the elements that the stream brings; while the stream is closed, it reloads every
  // few seconds.
  const follow = (part) => {
    let source
    let address
    const reload = () => part.dispatchEvent(new Event('changed'))
    const close = () => {
      source?.close()
      source = undefined
    }
    // A hidden tab would hold one of the few connections that a browser opens to a host.
    const update = () => {
      const wanted = !document.hidden && part.isConnected && part.dataset.stream !== undefined
      if (!wanted) return close()
      if (source !== undefined) return
      address = part.dataset.stream
      source = new EventSource(address)
      source.addEventListener('changed', reload)
      source.addEventListener('parts', ({ data }) => swapIn(part, JSON.parse(data)))
    }
    // The address of a stream says what the page shows.
    document.addEventListener('htmx:after:swap', () => {
      if (source === undefined || part.dataset.stream === address) return
      close()
      update()
    })
    const timer = setInterval(() => {
      update()
      if (part.dataset.stream === undefined) clearInterval(timer)
      else if (!document.hidden && source?.readyState !== EventSource.OPEN) reload()
    }, Number(part.dataset.every))
    document.addEventListener('visibilitychange', update)
    window.addEventListener('pagehide', close)
    window.addEventListener('pageshow', update)
    update()
  }
  for (const part of document.querySelectorAll('[data-stream]')) follow(part)
  // The search opens with Ctrl K or ⌘K; the arrows move through its results.
  const search = document.getElementById('search')
  const field = search?.querySelector('input')
  const openSearch = (event) => {
    event.preventDefault()
    if (!search.open) search.showModal()
    field.select()
  }
  if (search) {
    document.querySelector('.find').addEventListener('click', openSearch)
    document.addEventListener('keydown', (event) => {
      if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === 'k') openSearch(event)
    })
    search.addEventListener('click', (event) => {
      if (event.target === search) search.close()
    })
    search.addEventListener('keydown', (event) => {
      const links = [...search.querySelectorAll('#found a')]
      const at = links.indexOf(document.activeElement)
      if (event.key === 'Enter' && at < 0) links[0]?.click()
      if (event.key !== 'ArrowDown' && event.key !== 'ArrowUp') return
      event.preventDefault()
      const next = at + (event.key === 'ArrowDown' ? 1 : -1)
      ;(next < 0 ? field : links[Math.min(next, links.length - 1)])?.focus()
    })
  }
  // The sheet of an action opens when it has arrived. Without script, its link leads to a page.
  const sheet = document.getElementById('sheet')
  if (sheet?.showModal) {
    document.addEventListener('htmx:after:swap', () => {
      if (sheet.childElementCount > 0 && !sheet.open) sheet.showModal()
    })
    sheet.addEventListener('close', () => sheet.replaceChildren())
    sheet.addEventListener('click', (event) => {
      if (event.target !== sheet && !event.target.closest('[data-closes]')) return
      event.preventDefault()
      sheet.close()
    })
  }
  // The meaning of a term, on hover, on focus and at the first touch; without script it is the title, and the link leads to the glossary.
  const meaning = document.getElementById('meaning')
  let explained
  let touched = false
  let hideLater
  const describe = (term) => {
    if (term.title) {
      term.dataset.meaning = term.title
      term.removeAttribute('title')
    }
    meaning.textContent = term.dataset.meaning
    term.setAttribute('aria-describedby', 'meaning')
  }
  const explain = (term) => {
    clearTimeout(hideLater)
    if (explained === term && meaning.matches(':popover-open')) return
    explained?.removeAttribute('aria-describedby')
    explained = term
    describe(term)
    meaning.showPopover()
    // In the view, below the term where there is room.
    const at = term.getBoundingClientRect()
    const size = meaning.getBoundingClientRect()
    const left = Math.min(Math.max(8, at.left), document.documentElement.clientWidth - size.width - 8)
    const below = at.bottom + 6
    const top = below + size.height > window.innerHeight ? at.top - size.height - 6 : below
    meaning.style.left = `${Math.max(8, left)}px`
    meaning.style.top = `${Math.max(8, top)}px`
  }
  const termOf = (event) => event.target.closest?.('a.term')
  if (meaning?.showPopover) {
    const hide = () => meaning.hidePopover()
    // The pointer may move onto the meaning to read it.
    const leave = () => {
      hideLater = setTimeout(hide, 250)
    }
    document.addEventListener('pointerdown', (event) => (touched = event.pointerType === 'touch'))
    document.addEventListener('keydown', () => (touched = false))
    document.addEventListener('pointerover', (event) => {
      const term = termOf(event)
      if (event.pointerType === 'touch') return
      if (term) explain(term)
      else if (event.target.closest('#meaning')) clearTimeout(hideLater)
      else if (meaning.matches(':popover-open') && document.activeElement !== explained) leave()
    })
    document.addEventListener('focusin', (event) => {
      const term = termOf(event)
      if (term && !touched) explain(term)
    })
    document.addEventListener('focusout', (event) => termOf(event) && leave())
    document.addEventListener('click', (event) => {
      const term = termOf(event)
      if (!term || !touched || (explained === term && meaning.dataset.pinned === 'yes')) return
      event.preventDefault()
      explain(term)
      meaning.dataset.pinned = 'yes'
    })
    // A part that has reloaded itself has the term as the server writes it, or has it no longer.
    document.addEventListener('htmx:after:swap', () => {
      if (!meaning.matches(':popover-open')) return
      if (explained.isConnected) describe(explained)
      else hide()
    })
    meaning.addEventListener('toggle', (event) => {
      if (event.newState === 'open') return
      // A second touch on the same term closes it first and then follows the link.
      setTimeout(() => delete meaning.dataset.pinned, 300)
    })
  }
  // Near times are relative: in the cells of a table the time since within the last hour, unless two of a column would be the same, and the
  // time left until a deadline. Their titles are absolute.
  const isoTitle = /\d{4}-\d\d-\d\d \d\d:\d\d:\d\d/
  const showTimes = () => {
    const columns = new Map()
    for (const time of document.querySelectorAll('time[data-shows=time]')) {
      const cell = time.parentElement
      if (cell.tagName !== 'TD') continue
      const minutes = Math.floor((Date.now() - Date.parse(time.dateTime)) / 60000)
      time.dataset.written ??= time.textContent
      time.textContent = time.dataset.written
      if (minutes < 0 || minutes >= 60) continue
      const column = `${cell.cellIndex} ${minutes}`
      const table = cell.closest('table')
      if (!columns.has(table)) columns.set(table, new Map())
      const same = columns.get(table)
      same.set(column, [...(same.get(column) ?? []), time])
      time.textContent = `${minutes || '< 1'} min ago`
    }
    for (const same of columns.values())
      for (const times of same.values())
        if (times.length > 1)
          for (const time of times) time.textContent = isoTitle.exec(time.title)[0].replace(' ', '\u00a0')
    for (const time of document.querySelectorAll('time[data-shows=due]')) {
      const minutes = Math.round((Date.parse(time.dateTime) - Date.now()) / 60000)
      time.textContent = time.textContent.replace(
        /in\s\d+\smin|now/,
        minutes > 0 ? `in\u00a0${minutes}\u00a0min` : 'now',
      )
    }
  }
  showTimes()
  setInterval(showTimes, 30000)
  document.addEventListener('htmx:after:swap', showTimes)
  document.addEventListener('submit', (event) => {
    if (event.target.method !== 'post') return
    // Deferred, because a disabled button is not part of the form data.
    setTimeout(() => {
      for (const button of event.target.querySelectorAll('button')) button.disabled = true
    })
  })
  // A page restored by the back button can be sent again, as a new command.
  window.addEventListener('pageshow', () => {
    for (const button of document.querySelectorAll('form[method=post] button')) button.disabled = false
    for (const once of document.querySelectorAll('input[name=once]'))
      once.value = `${once.value.slice(0, 36)}-${Date.now()}`
  })
})()
