/** Shows the failed checks and warnings of a validation as a table, with the snapshot, the runbook and the next step. */
import { counted } from '../../domain/figures.ts'
import type { CheckRow } from '../../domain/validation/check-rows.ts'
import type { ValidationAnswer } from '../client/responses.ts'
import { tableBy, wrapped, type Columns, type Terminal } from '../terminal.ts'
import { digestPrefix, orDash } from './format.ts'

/** Further rows are in `--json` and on the page. */
const maxRows = 20
/** The least width of the sentences of a row, and their shares of what the names leave. */
const minWidth = 36
const shares = { observed: 0.45, required: 0.3, champion: 0.25 }

/** Empty for rows that passed all checks. */
export function checksTable(terminal: Terminal, validation: ValidationAnswer | undefined): string {
  const { checks = [], snapshot_digest: digest, runbook, next } = validation ?? {}
  if (checks.length === 0) return ''
  const { tableColumns, paint } = terminal
  const rows = checks.slice(0, maxRows)
  const width = (tableColumns ?? 0) - 8 - widthOf(rows.map(columnOf)) - widthOf(rows.map(checkOf))
  const lines = (text: string, share: number): string =>
    tableColumns === undefined
      ? text
      : wrapped(text, Math.floor(Math.max(minWidth, width) * share)).join('\n')
  const columns: Columns<CheckRow> = {
    column: columnOf,
    check: (each) => paint(each.severity === 'failed' ? 'red' : 'yellow', checkOf(each)),
    observed: (each) => lines(observedText(each), shares.observed),
    required: ({ required }) => lines(required, shares.required),
    champion: ({ champion }) => lines(orDash(champion), shares.champion),
  }
  const table = tableBy(terminal, rows, columns, { keeps: ['observed', 'check'] })
  const hidden = checks.length - maxRows
  const facts = [
    ...(hidden > 0 ? [`${counted(hidden, 'more row')}: --json`] : []),
    `Snapshot ${digestPrefix(digest)}${runbook === undefined ? '' : ` · docs${runbook}.md`}`,
    ...(next === undefined ? [] : wrapped(next, tableColumns ?? Infinity)),
  ]
  const title = rows[0]!.severity === 'failed' ? 'Failed checks' : 'Warnings'
  return `\n\n${paint('bold', title)}\n${table}\n${facts.join('\n')}`
}

const columnOf = ({ column = 'all rows' }: CheckRow): string => column

const checkOf = ({ check, severity }: CheckRow): string =>
  `${severity === 'failed' ? '✗' : '!'} ${check.replaceAll('_', ' ')}`

const observedText = ({ observed, examples: [example] = [] }: CheckRow): string =>
  example === undefined ? observed : `${observed}, such as ${example}`

const widthOf = (texts: readonly string[]): number => Math.max(...texts.map(({ length }) => length))
