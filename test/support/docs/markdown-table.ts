/** Formats Markdown tables with escaped cells. */

export const markdownCode = (text: string): string => (text === '' ? '–' : `\`${text}\``)

const cell = (text: string): string => text.replaceAll(/\s+/g, ' ').replaceAll('|', '\\|').trim() || '–'

export function markdownTable(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.map(cell).join(' | ')} |`
  return [line(head), `| ${head.map(() => '---').join(' | ')} |`, ...rows.map(line)].join('\n')
}

/** Adds readable units to milliseconds, basis points and bytes. */
export function valueOf(name: string, value: unknown): string {
  if (value === undefined || value === null) return value === null ? '`null`' : '–'
  if (typeof value === 'string' || typeof value === 'boolean') return markdownCode(String(value))
  if (Array.isArray(value) && value.some((each) => typeof each === 'object')) return ''
  if (Array.isArray(value))
    return value.length === 0 ? 'none' : value.map((each) => markdownCode(String(each))).join(', ')
  if (typeof value !== 'number') return ''
  const shown = markdownCode(
    Number.isInteger(value) ? value.toLocaleString('en') : String(Number(value.toPrecision(4))),
  )
  if (name.endsWith('Ms') || /Ms\.\w+$/.test(name)) return `${shown} (${durationOf(value)})`
  if (name.endsWith('Bp')) return `${shown} (${value / 100} %)`
  if (name.endsWith('Bytes')) return `${shown} (${value / 1_048_576} MiB)`
  return shown
}

const units: readonly (readonly [string, number])[] = [
  ['d', 86_400_000],
  ['h', 3_600_000],
  ['min', 60_000],
  ['s', 1_000],
]

export function durationOf(ms: number): string {
  const [unit, length] = units.find(([, each]) => ms >= each && ms % each === 0) ?? ['ms', 1]
  return `${ms / length} ${unit}`
}
