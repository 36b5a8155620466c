/** Builds plain HTML pages. Every text passes `escapeHtml`, so that no name can become markup. */

export const escapeHtml = (value: string): string =>
  value
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;')
    .replaceAll("'", '&#39;')

/** Returns a table, whose cells have the name of their column for phones. Words between backticks are code. */
export function htmlTable(head: readonly string[], rows: readonly (readonly string[])[]): string {
  if (rows.length === 0) return '<p>None.</p>'
  const cellOf = (cell: string, i: number): string =>
    `<td data-head="${escapeHtml(head[i] ?? '')}">${escapeHtml(cell).replace(/`([^`]+)`/g, '<code>$1</code>')}</td>`
  const heads = head.map((name) => `<th scope="col">${escapeHtml(name)}</th>`).join('')
  const lines = rows.map((cells) => `<tr>${cells.map(cellOf).join('')}</tr>`).join('')
  return `<table><thead><tr>${heads}</tr></thead><tbody>${lines}</tbody></table>`
}

const style = `:root{color-scheme:light dark}
body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:70rem;padding:0 1rem;overflow-wrap:anywhere}
table{border-collapse:collapse}td,th{text-align:left;padding:.25rem .75rem .25rem 0;border-bottom:1px solid #8886;vertical-align:top;overflow-wrap:normal}
@media (max-width:40rem){thead{display:none}table,tbody,tr,td{display:block}tr{border-bottom:1px solid #8886;padding:.5rem 0}
td{border:0;padding:0;overflow-wrap:anywhere}td::before{content:attr(data-head) ': ';opacity:.7}}`

/** Returns a complete page. `body` is markup. */
export function htmlDocument(title: string, body: string): string {
  return `<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><title>${escapeHtml(title)}</title>
<style>${style}</style>
<h1>${escapeHtml(title)}</h1>
${body}
</html>`
}
