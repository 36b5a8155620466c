/** Tests the sentence that says why a challenger was refused. */
import { expect, it } from 'vitest'
import { refusalText } from '../../../../api/dashboard/pages/release/evaluation.tsx'
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

it('names the first reason where no metric that decides has failed', () =>
  expect(refusalText(reportOf([{ ...row, metric: 'recall' }]))).toBe('slice "morning" is worse'))
