import { expect, it } from 'vitest'
import { ChampionCell, QualityCell } from '../../../../api/dashboard/pages/overview/cells.tsx'
import type { OverviewRow } from '../../../../store/dashboard/overview.ts'

const row: OverviewRow = { model: 'iris', isBrought: false, serve: 'normal' }

it('the row of a model without a champion names the first training only while no release is open', () => {
  const told = (hasRelease: boolean) => String(ChampionCell({ row, hasRelease, nowMs: 0 }))
  expect(told(false)).toContain('None yet. Train the first: <code>tenure retrain iris</code>')
  expect(told(true)).toContain('None yet')
  expect(told(true)).not.toContain('Train the first')
})

it('both ends of an interval have as many decimals', () => {
  const evaluated = { metric: 'auc', value: 0.6985, rows: 25_000 }
  expect(String(QualityCell({ ...row, evaluated, positives: 0.19 }))).toMatch(/95 % CI 0\.690–0\.707/)
})
