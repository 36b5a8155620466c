/** Checks whether the largest value of a column has risen, in Tenure's database or another Postgres, with a read-only role. */
import { DomainError } from '../../domain/errors.ts'
import { quotedIdentifier } from '../../domain/sql-text.ts'
import { isFiniteMark, isLaterMark, type WatermarkSensor } from '../../domain/triggers/trigger.ts'
import { queryReader } from '../../store/integrations/metric-sources.ts'
import type { Look } from './sensor.ts'

export const lookAtWatermark: Look<WatermarkSensor, { mark: string | null }> = async (
  { store },
  { table, column, source },
  before,
) => {
  const from = table.split('.').map(quotedIdentifier).join('.')
  const found: (string | null)[] = []
  await queryReader(store, source)(
    `select max(${quotedIdentifier(column)})::text from ${from}`,
    async ({ rows }) => void found.push(...rows.flat()),
  )
  const mark = found[0] ?? null
  if (mark !== null && !isFiniteMark(mark))
    throw new DomainError(
      'source_unreadable',
      `the largest value of ${table}.${column} is ${mark}, which no later row exceeds: correct that row, or watch a view without it`,
    )
  if (before === undefined) return { seen: { mark } }
  // Deleted rows lower the mark; only a mark above all earlier ones is news.
  if (mark === null || !isLaterMark(mark, before.mark)) return { seen: before }
  const message = `${table}.${column} has risen from ${before.mark ?? 'nothing'} to ${mark}`
  return { seen: { mark }, news: { message, evidence: { watermark: mark, before: before.mark } } }
}
