/** Makes the `list` command of a group, which shows the rows of one response as a table. */
import { path as requestPath, usageError, type Client } from '../client/client.ts'
import type { CommandInput, CommandSpec } from '../program.ts'
import { tableBy, type Columns } from '../terminal.ts'

/** The arguments of every list whose rows belong to models: `releases list iris`, or `--model iris`. */
export const listOfModels = {
  name: 'list [model]',
  isDefault: true,
  options: [['--model <model>', 'Only this model, in place of the argument']],
} as const satisfies Partial<CommandSpec>

/** Returns the query of such a list. */
export function listQuery({ args: [argument], options }: CommandInput): CommandInput['options'] {
  const { model } = options
  if (argument !== undefined && model !== undefined && argument !== model)
    throw usageError(`two models are named, ${argument} and ${String(model)}: name one`)
  return argument === undefined ? options : { ...options, model: argument }
}

export interface ListSpec<Row> extends Pick<CommandSpec, 'summary' | 'options' | 'examples'> {
  /** The route. The options of the command are its query parameters. */
  path: string
  /** The field of the response that holds the rows. */
  field: string
  /** Whether its rows belong to models, so that the list can be filtered by model. */
  ofModels?: true
  /** Whether the route answers in pages. */
  isPaged?: true
  /** Query parameters without an option. */
  query?: Readonly<Record<string, number | boolean>>
  columns: Columns<Row>
  /** Printed if there are no rows. */
  none: string
}

/** Throws `model_not_found` if an empty list is due to a mistyped model. */
export async function requireModel(client: Client, model: unknown): Promise<void> {
  if (model !== undefined) await client.get(requestPath`/v1/models/${model}`)
}

const pageOptions: NonNullable<CommandSpec['options']> = [
  ['--limit <n>', 'Number of rows (default: 100, at most 1,000)'],
  ['--cursor <cursor>', 'Continue after the previous page'],
]

export function listCommand<Row>(list: ListSpec<Row>): CommandSpec {
  const { path, field, query, columns, none, ofModels, isPaged, options: own = [], ...spec } = list
  const { options: modelOptions, ...form } = listOfModels
  const options = [...own, ...(isPaged ? pageOptions : [])]
  return {
    ...spec,
    ...form,
    ...(ofModels ? { options: [...modelOptions, ...options] } : { name: 'list', options }),
    async run({ terminal, api }, input) {
      const asked = listQuery(input)
      const answer = await api().get<Record<string, unknown>>(path, { ...query, ...asked })
      const { [field]: found, next_cursor: next } = answer
      const rows = (found ?? []) as Row[]
      if (rows.length === 0) await requireModel(api(), asked['model'])
      const table = rows.length === 0 ? none : tableBy(terminal, rows, columns)
      const more =
        next === undefined
          ? ''
          : `\n\nMore ${field}: raise --limit, or continue with --cursor ${String(next)}`
      terminal.answer(answer, `${table}${more}`)
    },
  }
}
