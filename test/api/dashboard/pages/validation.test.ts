/** Tests how the page of a snapshot shows a validation: its numbers, and the columns that every snapshot has. */
import { expect, it } from 'vitest'
import { ValidationSection } from '../../../../api/dashboard/pages/training/data-validation.tsx'
import { columnText } from '../../../../api/dashboard/components/validation-report.ts'
import type { ColumnSummary, Expectation } from '../../../../domain/validation/expectations.ts'
import { judgeValidation } from '../../../../domain/validation/validate.ts'

const rows = 105_000
const table = { rows, columns: { _label: Array.from({ length: rows }, () => 1) } }
const expectations: Expectation[] = [
  { check: 'rows', min: 1_000, max: 3_000_000, severity: 'block' },
  { check: 'complete', columns: ['_label'], severity: 'block' },
]

const shownWith = async (columns: Pick<ColumnSummary, 'column'>[]): Promise<string> => {
  const { results } = judgeValidation(expectations, table, {
    asOfMs: 0,
    eventAt: '_event_at',
    earlierRows: [],
  })
  const validation = { verdict: 'pass', createdAt: '2026-03-01T00:00:00Z', report: { results, columns } }
  return String(await ValidationSection({ validation: validation as never }))
}

it('numbers have their thousands apart, and checks of all rows and of the label name them', async () => {
  const html = await shownWith([])
  expect(html).toContain('rows: 105,000, at least 1,000 and at most 3,000,000 is required')
  expect(html).toContain('105,000 / 105,000 rows (100 %)')
  expect(html).toContain('all rows')
  expect(html).toMatch(/>label</)
  expect(html).not.toContain('_label')
})

it('a column of the table that is named batch keeps its name', async () => {
  expect(await shownWith([{ column: 'batch' }])).not.toContain('all rows')
  expect(columnText('size, _label_2, _key')).toBe('size, label 2, key')
})
