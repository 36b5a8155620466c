/** Tests the sentence that explains why a challenger was refused, and the gate table of a first version. */
import { expect, it } from 'vitest'
import { Gates, refusalText } from '../../../../api/dashboard/pages/release/evaluation.tsx'
import { judgeWorth } from '../../../../domain/evaluation/compression.ts'
import { judgeFidelity } from '../../../../domain/evaluation/fidelity.ts'
import { defaultGatePolicy } from '../../../../domain/evaluation/policy.ts'
import type { GateReport } from '../../../../domain/evaluation/gate.ts'

const policy = { ...defaultGatePolicy('binary'), primary: 'auc', guards: ['brier'] }
const row = {
  champion: 0.682,
  challenger: 0.6618,
  oneSidedLow: -0.02546,
  margin: 0.005,
  verdict: 'not_better',
}
const reportOf = (metrics: object[]) =>
  ({ policy, metrics, reasons: [{ message: 'slice "morning" is worse' }] }) as unknown as GateReport

it('names the figures of the metric that has failed', () => {
  expect(refusalText(reportOf([{ ...row, metric: 'auc' }]))).toBe(
    'AUC 0.6618 vs 0.6820; worst case −0.0255, limit −0.0050',
  )
  expect(
    refusalText(
      reportOf([
        { ...row, metric: 'auc', verdict: 'better' },
        { ...row, metric: 'brier' },
      ]),
    ),
  ).toMatch(/^Brier score 0\.6618/)
})

it('shows as many decimals as tell a bound from the limit that it misses', () =>
  expect(refusalText(reportOf([{ ...row, metric: 'auc', oneSidedLow: -0.00502 }]))).toMatch(
    /worst case −0\.005020, limit −0\.005000$/,
  ))

it('names the first reason when no deciding metric has failed', () =>
  expect(refusalText(reportOf([{ ...row, metric: 'recall' }]))).toBe('slice "morning" is worse'))

it('shows whether a first version meets its floors, its only criterion', async () => {
  const first = { ...row, champion: null, delta: null, low: null, margin: null, verdict: 'reported' }
  const metrics = [
    { ...first, metric: 'auc', floor: 0.6, floorMet: true },
    { ...first, metric: 'brier', floor: 0.2, floorMet: false },
    { ...first, metric: 'recall', floor: null, floorMet: null },
  ]
  const report = {
    ...reportOf(metrics),
    rows: 100,
    warnings: [],
    calibration: null,
    fairness: [],
  } as GateReport
  const lines = String(await Gates({ report, chart: undefined })).split('<tr>')
  expect(lines.find((line) => line.includes('0.6 ✓'))).toContain('passed')
  expect(lines.find((line) => line.includes('✗ missed'))).toContain('failed')
  expect(lines.at(-1)).toContain('no verdict')
})

it('says how a version was compressed, above what was measured beside its parent', async () => {
  const half = { parent: 100, child: 50 }
  const cost = { rowsPerSecond: half, p99Us: half }
  const fidelity = judgeFidelity({
    parent: [[0.1]],
    child: [[0.1]],
    version: { output: { kind: 'probability', positive: 'yes', threshold: 0.5 } },
    policy: { epsilon: 0.01, flips: 0.01, alpha: 0.05 },
  })
  const report = {
    ...reportOf([]),
    rows: 100,
    warnings: [],
    calibration: null,
    fairness: [],
    compression: { version: 'm_v1.0.0', to: 'int8', counts: {}, cost, worth: judgeWorth(cost), fidelity },
  } as unknown as GateReport
  const page = String(await Gates({ report, chart: undefined }))
  expect(page).toContain('Compressed from m_v1.0.0, int8: 0.50 × rows/s.')
})
