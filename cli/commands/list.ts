/** Makes the command `list` of a group, which shows the rows of one response as a table. */
import type { CommandSpec } from '../program.ts'
import { tableBy, type Columns } from '../terminal.ts'

export interface ListSpec<Row> extends Pick<CommandSpec, 'summary' | 'options' | 'examples'> {
  /** The route; the options of the command are its query. */
  path: string
  /** The field of the response with the rows. */
  field: string
  /** Query parameters without an option. */
  query?: Readonly<Record<string, number>>
  columns: Columns<Row>
  /** Printed if there are no rows. */
  none?: string
}

export function listCommand<Row>({ path, field, query, columns, none, ...spec }: ListSpec<Row>): CommandSpec {
  return {
    ...spec,
    name: 'list',
    isDefault: true,
    async run({ terminal, api }, { options }) {
      const answer = await api().get<Record<string, Row[]>>(path, { ...query, ...options })
      const rows = answer[field] ?? []
      const text = rows.length === 0 ? none : undefined
      terminal.answer(answer, text ?? tableBy(terminal, rows, columns))
    },
  }
}
