/** Defines models of which one column, `value`, is declared in each way, and reads it from their snapshots. */
import { withDuck } from '../../../activities/data/duckdb.ts'
import { textLiteral } from '../../../domain/sql-text.ts'
import { category, defineModel, direct, number, random, yesNo, type parquet } from '../../../models/define.ts'

type Declared = 'number' | 'text' | 'time' | 'flag'

export const declaring = (declared: Declared, source: ReturnType<typeof parquet>) =>
  defineModel({
    name: 'typed',
    features: {
      ...(declared === 'number' ? { value: number() } : {}),
      ...(declared === 'text' ? { value: category() } : {}),
      x: number(),
    },
    label: yesNo({ column: declared === 'flag' ? 'value' : 'y', positive: 'yes' }),
    source,
    split: random({ test: 0.3 }),
    train: () => {
      throw new Error('the model is not trained')
    },
    evaluation: { floors: { auc: 0.5 } },
    release: direct({ approval: { by: 1, within: '1 h' } }),
  })

/** The values of the rows with an even and an odd id, times in ISO 8601. */
export const readingIn = (path: string, declared: Declared): Promise<unknown[]> =>
  withDuck(async (duck) => {
    const column = { number: 'value', text: 'value', time: '_event_at', flag: '_label' }[declared]
    const rows = await duck.rows<{ value: unknown }>(
      `select distinct cast(id as int) % 2 as odd, ${column} as value from ${textLiteral(path)} order by odd`,
    )
    return rows.map(({ value }) => (declared === 'time' ? new Date(Number(value)).toISOString() : value))
  })
