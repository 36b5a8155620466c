/** Makes Markdown in which no text of data or of a user becomes markup. */
import { visibleText } from './visible-text.ts'

declare const isEscaped: unique symbol

/** Markdown in which every text of others is escaped: no other file can make one, other than by `markup` and the functions here. */
export interface Markdown {
  readonly markdown: string
  readonly [isEscaped]: true
}

/** A text, which is escaped, a figure, or Markdown, which stays as it is. */
export type MarkdownPart = string | number | Markdown

const markdownOf = (markdown: string): Markdown => ({ markdown }) as Markdown
const textOf = (part: MarkdownPart): string =>
  typeof part === 'object' ? part.markdown : escapedText(String(part))

/** A template of Markdown. */
export const markup = (parts: TemplateStringsArray, ...values: readonly MarkdownPart[]): Markdown =>
  markdownOf(String.raw({ raw: parts }, ...values.map(textOf)))

/** Joins the parts that are not empty. */
export const joinMarkdown = (parts: readonly Markdown[], between: '\n' | '\n\n'): Markdown =>
  markdownOf(
    parts
      .map(textOf)
      .filter((text) => text !== '')
      .join(between),
  )

/** A text between backticks, where Markdown knows no escapes. */
export const code = (text: string): Markdown => markdownOf(`\`${text.replace(/[`\s]/g, '')}\``)

/**
 * Escapes a text from data or from a user, so that it is one line without a table cell, a tag, a link, an image or a list, in CommonMark and
 * on GitHub and GitLab. An invisible character breaks what these make links of after the Markdown: addresses and mentions.
 */
const escapedText = (value: string): string =>
  visibleText(value)
    .replace(/\s+/g, ' ')
    .replace(/[\\`*_{}[\]<>|#&~]/g, (sign) => `\\${sign}`)
    .replace(/@|:(?=\/\/)|\bwww(?=\.)/gi, (sign) => `${sign}&#8203;`)
    .replace(/^ *[-+=](?!\d)/, (mark) => `\\${mark.trim()}`)
    .replace(/^( *\d+)([.)])(?= |$)/, String.raw`$1\$2`)

/** A table under its heading; columns of numbers are aligned to the right. */
export function titledTable(
  heading: Markdown,
  head: readonly MarkdownPart[],
  rows: readonly (readonly MarkdownPart[])[],
): Markdown {
  const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |`
  const [named = [], ...cells] = [head, ...rows].map((row) => row.map(textOf))
  const rule = head.map((_, column) => (isNumeric(cells.map((row) => row[column]!)) ? '---:' : '---'))
  return markdownOf([heading.markdown, '', line(named), line(rule), ...cells.map(line)].join('\n'))
}

const isNumeric = (cells: readonly string[]): boolean =>
  cells.some((cell) => /\d/.test(cell)) && cells.every((cell) => /^[-+−—]?[\d.,]*(?:e[-+−]?\d+)?$/.test(cell))
