/** Makes the `list` command of a group, which shows the rows of one response as a table. */
import { path as requestPath, usageError, type Client, type QueryParameters } from '../client/client.ts'
import type { ModelAnswer } from '../client/responses.ts'
import type { CommandInput, CommandSpec } from '../program.ts'
import { numberOption } from '../number-option.ts'
import { tableBy, type ColumnOrder, type Columns, type Terminal } from '../terminal.ts'

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

export interface ListSpec<Row> extends Pick<CommandSpec, 'summary' | 'options' | 'examples'>, ColumnOrder {
  /** The route. The options of the command are its query parameters. */
  path: string
  /** The field of the response that holds the rows. */
  field: string
  /** The query of these options, where it is not the options themselves. */
  queryOf?: (options: CommandInput['options']) => QueryParameters
  /** Whether its rows belong to models, so that the list can be filtered by model. */
  ofModels?: true
  /** How the route limits its rows: in pages with a cursor, by a limit, or not at all. */
  pages: 'cursor' | 'limit' | 'all'
  /** The default of `--limit`. */
  limit?: number
  /** Query parameters without an option. */
  query?: Readonly<Record<string, number | boolean>>
  columns: Columns<Row>
  /** Printed if there are no rows. `firstStep`: the command that brings the named model its first champion. */
  none: string | ((options: CommandInput['options'], firstStep: string | undefined) => string)
  /** Printed below the rows. */
  below?: (terminal: Terminal, answer: Readonly<Record<string, unknown>>) => string
}

/** Throws `model_not_found` if an empty list is due to a mistyped model. Returns the model, if one is named. */
export async function requireModel(client: Client, model: unknown): Promise<ModelAnswer | undefined> {
  return model === undefined ? undefined : await client.get<ModelAnswer>(requestPath`/v1/models/${model}`)
}

/** The API's limit. */
const maxLimit = 1_000
const limitOption = (limit: number) =>
  ['--limit <n>', `Number of rows (default: ${limit}, at most 1,000)`] as const
const cursorOption = ['--cursor <cursor>', 'Continue after the previous page'] as const

/** Lists rows up to a limit, and says when there are more. */
export function listCommand<Row>(list: ListSpec<Row>): CommandSpec {
  const {
    path,
    field,
    query,
    columns,
    keeps,
    droppable,
    ownLine,
    none,
    below,
    ofModels,
    pages,
    queryOf = (given) => given,
    ...rest
  } = list
  const { options: own = [], limit: byDefault = 100, ...spec } = rest
  const { options: modelOptions, ...form } = listOfModels
  const options = [...own, limitOption(byDefault), ...(pages === 'cursor' ? [cursorOption] : [])]
  return {
    ...spec,
    ...form,
    ...(ofModels ? { options: [...modelOptions, ...options] } : { name: 'list', options }),
    async run({ terminal, api }, input) {
      const { limit: _, ...asked } = listQuery(input)
      const limit = numberOption(input.options, 'limit', { min: 1, max: maxLimit, whole: true }) ?? byDefault
      // One more than is shown tells whether there are more.
      const sent = { cursor: limit, limit: Math.min(limit + 1, maxLimit), all: undefined }[pages]
      const answer = await api().get<Record<string, unknown>>(path, {
        ...query,
        ...queryOf(asked),
        limit: sent,
      })
      const { [field]: found, next_cursor: next } = answer
      const all = (found ?? []) as Row[]
      const rows = all.slice(0, limit)
      const model = rows.length === 0 ? await requireModel(api(), asked['model']) : undefined
      const isFull = rows.length === maxLimit && pages === 'limit'
      const word = field === 'audit' ? 'entries' : field.replaceAll('_', ' ')
      const more =
        next !== undefined
          ? rows.length === 0
            ? `No ${word} so far: the search has not ended. Continue with --cursor ${String(next)}`
            : `More ${word}: raise --limit, or continue with --cursor ${String(next)}`
          : all.length > rows.length
            ? `${rows.length} of ${pages === 'all' ? '' : 'more than '}${pages === 'all' ? all.length : rows.length} ${word}: raise --limit`
            : isFull
              ? `The ${maxLimit} ${word} that one request shows; there may be more`
              : ''
      const empty = typeof none === 'string' ? none : none(input.options, model?.first_step)
      const parts = [
        rows.length > 0
          ? tableBy(terminal, rows, columns, { keeps, droppable, ownLine })
          : next === undefined
            ? empty
            : '',
        below?.(terminal, answer) ?? '',
        more,
      ]
      // A document keeps what a route without pages answers, unless a limit is named.
      const isWhole = pages === 'all' && input.options['limit'] === undefined
      terminal.answer(
        isWhole ? answer : { ...answer, [field]: rows },
        parts.filter((part) => part !== '').join('\n\n'),
      )
    },
  }
}
