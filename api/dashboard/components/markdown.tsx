/** Renders the Markdown of runbooks and model cards. HTML in the source is escaped, and links may lead only to runbooks or to https. */
import { raw } from 'hono/html'
import MarkdownIt from 'markdown-it'
import type { PageElement } from '../page.ts'

const maxLength = 200_000

const markdown = new MarkdownIt({ html: false }).disable('image')
const { escapeHtml } = markdown.utils
const { rules } = markdown.renderer

// Renders other links as plain text.
markdown.core.ruler.push('links', ({ tokens }) => {
  for (const { children } of tokens) {
    let isHidden = false
    for (const token of children ?? []) {
      if (token.type === 'link_open') {
        const href = hrefOf(String(token.attrGet('href')))
        isHidden = href === undefined
        token.attrs = href === undefined ? null : [['href', href]]
      }
      if (token.type === 'link_open' || token.type === 'link_close') token.hidden = isHidden
    }
  }
})

/** Maps links between runbooks to dashboard pages, and allows https; undefined for other links. */
function hrefOf(href: string): string | undefined {
  const beside = /^(?:\.\/)?((?:[a-z]+\/)?[a-z0-9-]+)\.md$/.exec(href)?.[1]
  if (beside !== undefined) return `/runbooks/${beside.split('/').at(-1)}`
  return /^https:\/\/[\w.-]+(?:[/?#][\w./?#=&%-]*)?$/.test(href) ? href : undefined
}

/**
 * The column names of the table that is rendered, by the tokens of its page. A search for them from each cell would block the replica for
 * seconds at thousands of rows.
 */
const headsOf = new WeakMap<readonly object[], string[]>()

// Wide code and tables scroll inside the page, so keyboard users need to focus them.
rules.fence = rules.code_block = (tokens, at) =>
  `<pre tabindex="0">${escapeHtml(tokens[at]!.content)}</pre>\n`
rules.table_open = (tokens, at) => {
  const head = tokens.slice(
    at,
    tokens.findIndex((token, i) => i > at && token.type === 'thead_close'),
  )
  const names = head.filter(({ type }) => type === 'inline').map(({ content }) => content)
  headsOf.set(tokens, names)
  return `<div class="scroll" role="group" aria-label="${escapeHtml(`Table: ${names.join(', ')}`.slice(0, 200))}" tabindex="0"><table>\n`
}
rules.table_close = () => '</table></div>\n'
// Replaces the inline style with which markdown-it aligns columns, because the content security policy forbids it.
rules.th_open = (tokens, at) => `<th scope="col"${aligned(tokens[at]!)}>`
// A phone shows a row as lines with the column names, and folds a long list of values.
rules.td_open = (tokens, at) => {
  const text = tokens[at + 1]!.content
  const name = headsOf.get(tokens)?.[columnOf(tokens, at)] ?? ''
  const fold =
    text.length > maxCell ? `<details><summary>${escapeHtml(text.slice(0, shownOfCell))}…</summary>` : ''
  return `<td${aligned(tokens[at]!)} data-head="${escapeHtml(name)}">${fold}`
}
rules.td_close = (tokens, at) => (tokens[at - 1]!.content.length > maxCell ? '</details></td>' : '</td>')
const maxCell = 240
const shownOfCell = 60

/** Returns the position of a cell in its row. */
function columnOf(tokens: readonly { type: string }[], at: number): number {
  let column = 0
  for (let i = at - 1; tokens[i]!.type !== 'tr_open'; i--) if (tokens[i]!.type === 'td_open') column++
  return column
}

const aligned = ({ attrs }: { attrs: unknown }): string => (attrs === null ? '' : ' class="number"')

export const Markdown = ({ source }: { source: string }): PageElement => (
  <div class="prose">{raw(markdown.render(source.slice(0, maxLength)))}</div>
)
