/** Renders parts of Markdown reports. */
import { visibleText } from './visible-text.ts'

/**
 * Escapes a text from data or from a user, so that it is one line without a table cell, a tag, a link, an image or a list, in CommonMark and
 * on GitHub and GitLab. An invisible character breaks what these make links of after the Markdown: addresses and mentions.
 */
export const escapedText = (value: string): string =>
  visibleText(value)
    .replace(/\s+/g, ' ')
    .replace(/[\\`*_{}[\]<>|#&~]/g, (sign) => `\\${sign}`)
    .replace(/@|:(?=\/\/)|\bwww(?=\.)/gi, (sign) => `${sign}&#8203;`)
    .replace(/^ *[-+=]/, (mark) => `\\${mark.trim()}`)

/** A table under its heading; columns of numbers are aligned to the right. */
export function titledTable(heading: string, head: string[], rows: string[][]): string {
  const line = (cells: string[]) => `| ${cells.join(' | ')} |`
  const rule = head.map((_, column) => (isNumeric(rows.map((row) => row[column]!)) ? '---:' : '---'))
  return [heading, '', line(head), line(rule), ...rows.map(line)].join('\n')
}

const isNumeric = (cells: readonly string[]): boolean =>
  cells.some((cell) => /\d/.test(cell)) && cells.every((cell) => /^[-+−—]?[\d.,]*(?:e[-+−]?\d+)?$/.test(cell))
