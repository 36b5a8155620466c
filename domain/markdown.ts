/** Renders parts of Markdown reports. */

/** Escapes names from data, so that they cannot open a table cell, a tag or a link. */
export const escapedText = (value: string): string =>
  value.replace(/\s+/g, ' ').replace(/[\\`*_{}[\]<>|#]/g, (sign) => `\\${sign}`)

/** A table under its heading; columns of numbers are aligned to the right. */
export function titledTable(heading: string, head: string[], rows: string[][]): string {
  const line = (cells: string[]) => `| ${cells.join(' | ')} |`
  const rule = head.map((_, column) => (isNumeric(rows.map((row) => row[column]!)) ? '---:' : '---'))
  return [heading, '', line(head), line(rule), ...rows.map(line)].join('\n')
}

const isNumeric = (cells: readonly string[]): boolean =>
  cells.some((cell) => /\d/.test(cell)) && cells.every((cell) => /^[-+−—]?[\d.,]*(?:e[-+−]?\d+)?$/.test(cell))
