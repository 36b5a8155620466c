/**
 * The project's own Markdown as elements of a page: runbooks, reports of the gate, cards of versions. Every text becomes a child,
 * which the renderer quotes; nothing of it can become markup, and links lead to pages of ours or to https alone.
 */
import type { Child } from 'hono/jsx'
import type { View } from '../page.ts'

export const Markdown = ({
  source,
  top = 2,
}: {
  source: string
  /** The level of its first heading. */ top?: number
}): View => <div class="prose">{blocksOf(source).map((block) => blockView(block, top))}</div>

type Block =
  | { kind: 'heading'; level: number; text: string }
  | { kind: 'list'; ordered: boolean; items: string[] }
  | { kind: 'table'; head: string[]; rows: string[][] }
  | { kind: 'code'; text: string }
  | { kind: 'paragraph'; text: string }

/** A longer text is none of ours. */
const mostLetters = 200_000

function blocksOf(source: string): Block[] {
  const lines = source.slice(0, mostLetters).split(/\r?\n/)
  const blocks: Block[] = []
  let at = 0
  const while_ = (holds: (line: string) => boolean): string[] => {
    const from = at
    while (at < lines.length && holds(lines[at]!)) at++
    return lines.slice(from, at)
  }
  while (at < lines.length) {
    const line = lines[at]!
    const heading = /^(#{1,6})\s+(.*)$/.exec(line)
    if (line.trim() === '') at++
    else if (heading) {
      at++
      blocks.push({ kind: 'heading', level: heading[1]!.length, text: heading[2]! })
    } else if (line.startsWith('```')) {
      at++
      const text = while_((each) => !each.startsWith('```')).join('\n')
      at++
      blocks.push({ kind: 'code', text })
    } else if (line.startsWith('|')) {
      const [head = [], , ...rows] = while_((each) => each.startsWith('|')).map(cellsOf)
      blocks.push({ kind: 'table', head, rows })
    } else if (isItem(line)) {
      const ordered = /^\s*\d/.test(line)
      const items: string[] = []
      for (const each of while_((next) => isItem(next) || /^\s+\S/.test(next)))
        if (isItem(each)) items.push(each.replace(/^\s*(?:[-*]|\d+\.)\s+/, ''))
        else items[items.length - 1] += ` ${each.trim()}`
      blocks.push({ kind: 'list', ordered, items })
    } else {
      const text = while_(
        (each) => each.trim() !== '' && !/^(#{1,6}\s|```|\|)/.test(each) && !isItem(each),
      ).join(' ')
      blocks.push({ kind: 'paragraph', text })
    }
  }
  return blocks
}

const isItem = (line: string): boolean => /^\s*(?:[-*]|\d+\.)\s+\S/.test(line)

/** A bar behind a backslash is part of its cell. */
const cellsOf = (line: string): string[] =>
  line
    .trim()
    .replace(/^\||\|$/g, '')
    .split(/(?<!\\)\|/)
    .map((cell) => cell.trim())

function blockView(block: Block, top: number): View {
  switch (block.kind) {
    case 'heading':
      return headingView(Math.min(6, block.level + top - 1), block.text)
    case 'list': {
      const items = block.items.map((item) => <li>{inline(item)}</li>)
      return block.ordered ? <ol>{items}</ol> : <ul>{items}</ul>
    }
    case 'code':
      return <pre tabindex={0}>{block.text}</pre>
    case 'paragraph':
      return <p>{inline(block.text)}</p>
    case 'table':
      return (
        <div
          class="scroll"
          role="region"
          aria-label={`Table: ${block.head.join(', ')}`.slice(0, 200)}
          tabindex={0}
        >
          <table>
            <thead>
              <tr>
                {block.head.map((cell, i) => (
                  <th scope="col" class={isNumeric(block.rows, i) ? 'number' : undefined}>
                    {inline(cell)}
                  </th>
                ))}
              </tr>
            </thead>
            <tbody>
              {block.rows.map((row) => (
                <tr>
                  {row.map((cell, i) => (
                    <td class={isNumeric(block.rows, i) ? 'number' : undefined}>{inline(cell)}</td>
                  ))}
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )
    default:
      return block satisfies never
  }
}

/** Whether a column is one of figures, which stand to the right. */
const isNumeric = (rows: readonly string[][], column: number): boolean =>
  rows.some((row) => /\d/.test(row[column] ?? '')) &&
  rows.every((row) => /^[-+−–]?[\d.,]*(?:e[-+−]?\d+)?$/.test(row[column] ?? ''))

function headingView(level: number, text: string): View {
  const shown = inline(text)
  switch (level) {
    case 1:
      return <h1>{shown}</h1>
    case 2:
      return <h2>{shown}</h2>
    case 3:
      return <h3>{shown}</h3>
    default:
      return <h4>{shown}</h4>
  }
}

const marks =
  /`([^`]+)`|\*\*((?:[^*\\]|\\.)+)\*\*|\[((?:[^\]\\]|\\.)*)\]\(([^()\s]*)\)|\\([\\`*_{}[\]<>|#.!()-])/g

/** Code, bold, links, and what stands behind a backslash. */
function inline(text: string): Child[] {
  const parts: Child[] = []
  let from = 0
  for (const match of text.matchAll(marks)) {
    parts.push(text.slice(from, match.index))
    from = match.index + match[0].length
    const [, code, bold, label, href, escaped] = match
    if (code !== undefined) parts.push(<code>{code}</code>)
    else if (bold !== undefined) parts.push(<strong>{inline(bold)}</strong>)
    else if (escaped !== undefined) parts.push(escaped)
    else {
      const to = hrefOf(href ?? '')
      const shown = (label ?? '').replaceAll(/\\(.)/g, '$1')
      parts.push(to === undefined ? shown : <a href={to}>{shown}</a>)
    }
  }
  return [...parts, text.slice(from)]
}

/** Pages of the documentation that lie beside are pages here; anything but those and https is only read. */
function hrefOf(href: string): string | undefined {
  const beside = /^(?:\.\/)?((?:[a-z]+\/)?[a-z0-9-]+)\.md$/.exec(href)?.[1]
  if (beside !== undefined) return `/runbooks/${beside.split('/').at(-1)}`
  return /^https:\/\/[\w.-]+(?:[/?#][\w./?#=&%-]*)?$/.test(href) ? href : undefined
}
