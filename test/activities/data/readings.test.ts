/**
 * Tests that a text has one reading: the number, the moment and the truth value that JavaScript reads are those of DuckDB, over listed and drawn
 * texts. TENURE_TEST_TABLES=300 draws 300 times as many.
 */
import { expect, it } from 'vitest'
import { withDuck } from '../../../activities/data/duckdb.ts'
import { textLiteral } from '../../../domain/sql-text.ts'
import {
  breaks,
  readAs,
  readFlag,
  readNumber,
  readTime,
  type DeclaredKind,
} from '../../../domain/values/readings.ts'
import { environmentWith } from '../../../temporal.config.ts'
import { valueDraws } from '../../support/draws.ts'

const environment = environmentWith({})
const times = Number(environment['TENURE_TEST_TABLES'] ?? 2)
const { whole, oneOf } = valueDraws(Number(environment['TENURE_TEST_SEED'] ?? 1))

const listed = [
  '1_000,0x10,1e5,1E+5,+5,.5,5.,inf,-Infinity,NaN,1e400,1e151,-1e150,٣,1 000,--5,+-5,-+5,1e,e5,5-,−5,0.57,1.10,007',
  '2026-01-03,2026/1/3,2026-1/3,2026-02-29,2024-02-29,2026-02-31,2026-13-01,2026-01-32,0000-01-01,0001-01-01,9999-12-31',
  '2026-01-03 10:00,2026-01-03T10:00:00Z,2026-01-03 10:00:00 UTC,2026-01-03 10:00:00+01,2026-01-03 10:00:00-0530',
  '2026-01-03 10:00:00+15:59,2026-01-03 10:00:00+16,2026-01-03 24:00:00,2026-01-03 25:00,2026-01-03 10:60,2026-01-03 1:02',
  '2026-01-03 10:00:60,2026-01-03 10:00Z,2026-01-03 10:00:00.123456,2026-01-03 10:00:00 BST,epoch,infinity,-infinity,now,today',
  'true,TRUE,t,yes,Y,no,n,F,false,1,0,1.0,0.0,-0,2,maybe,10e-1',
].flatMap((line) => line.split(','))
const parts = [
  '0',
  '1',
  '9',
  '26',
  '2026',
  '-',
  '/',
  ':',
  '.',
  'e',
  '+',
  '_',
  ' ',
  'T',
  'Z',
  '01',
  '12',
  'UTC',
  '00',
  'nan',
  'inf',
]
const drawn = () =>
  Array.from({ length: 500 }, () =>
    oneOf([
      () => Array.from({ length: 1 + whole(5) }, () => oneOf(parts)).join(''),
      () => String((whole(2_000_000) - 1_000_000) / 10 ** whole(8)),
      () => `${whole(100_000_000)}.${whole(100_000_000)}e${whole(60) - 30}`,
      () =>
        `${oneOf(['1999', '2026'])}-${whole(14)}-${String(whole(33)).padStart(2, '0')}${oneOf(['', ' ', 'T'])}${oneOf(['', '1:00', '23:59:59', '07:30:00.5'])}${oneOf(['', 'Z', ' UTC', '+02', '-0930'])}`,
    ])(),
  )

const readers: Record<Exclude<DeclaredKind, 'text'>, (text: string) => number | undefined> = {
  number: readNumber,
  time: readTime,
  flag: readFlag,
}

it.each(Object.keys(readers) as (keyof typeof readers)[])(
  `a text is one %s to JavaScript and to DuckDB, of ${listed.length} listed and ${times * 500} drawn ones`,
  async (kind) => {
    await withDuck(async (duck) => {
      for (let at = 0; at < times; at++) {
        const texts = [...listed, ...drawn()].filter((text) => text !== '')
        const rows = await duck.rows<{ text: string; broken: boolean; value: number | null }>(`
          with given as (select unnest([${texts.map(textLiteral).join(', ')}]) as v),
            kept as (select v from given where not ${breaks(kind, 'v')})
          select given.v as text, kept.v is null as broken, ${kind === 'time' ? 'trunc(epoch_us(read) / 1000)' : 'read'} as value
          from given left join (select distinct v, ${readAs(kind, 'v')} as read from kept) as kept on kept.v = given.v`)
        const others = rows.flatMap(({ text, broken, value }) => {
          const [ours, theirs] = [readers[kind](text), broken ? undefined : value]
          return Object.is(ours, theirs) ? [] : [{ text, ours, theirs }]
        })
        expect(others).toEqual([])
      }
    })
  },
)
