/** Makes the command `list` of a group, which shows the rows of one response as a table. */
import { path as requestPath, type Client } from '../client/client.ts'
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

/** Throws `model_not_found` where an empty list is that of a mistyped name. */
export async function requireModel(client: Client, model: unknown): Promise<void> {
  if (model !== undefined) await client.get(requestPath`/v1/models/${model}`)
}

export function listCommand<Row>({ path, field, query, columns, none, ...spec }: ListSpec<Row>): CommandSpec {
  return {
    ...spec,
    name: 'list',
    isDefault: true,
    async run({ terminal, api }, { options }) {
      const answer = await api().get<Record<string, Row[]>>(path, { ...query, ...options })
      const rows = answer[field] ?? []
      if (rows.length === 0) await requireModel(api(), options['model'])
      const text = rows.length === 0 ? none : undefined
      terminal.answer(answer, text ?? tableBy(terminal, rows, columns))
    },
  }
}
