/** Tests how pages show the figures of an evaluation: gains of metrics that decide nothing, and the names of metrics. */
import { expect, it } from 'vitest'
import { ImportanceSection } from '../../../../api/dashboard/components/importance.tsx'
import { gateIntervals } from '../../../../api/charts/intervals.ts'
import type { GateReport } from '../../../../domain/evaluation/gate.ts'
import { defaultGatePolicy } from '../../../../domain/evaluation/policy.ts'

const gain = { delta: -0.004, low: -0.014, high: 0.006, margin: 0.01, floorMet: null }
const metrics = [
  { ...gain, metric: 'auc', verdict: 'not_better' },
  { ...gain, metric: 'f1', verdict: 'not_better' },
  { ...gain, metric: 'averagePrecision', verdict: 'reported', low: null },
] as unknown as GateReport['metrics']

it('a metric that decides nothing is drawn without a verdict, where the policy is known', () => {
  const policy = { ...defaultGatePolicy('binary'), primary: 'auc' as const }
  const verdicts = (report: Partial<GateReport>) => gateIntervals(report).map(({ verdict }) => verdict)
  expect(verdicts({ metrics, policy })).toEqual(['not_better', 'reported'])
  expect(verdicts({ metrics })).toEqual(['not_better', 'not_better'])
  expect(verdicts({})).toEqual([])
})

it('the importance of features names its metric as the headings do', async () => {
  const importance = { metric: 'auc', rows: 2_000, permutations: 9, features: [] } as never
  const html = String(
    await ImportanceSection({ importance, chart: { wide: '<svg></svg>', narrow: '<svg></svg>' } as never }),
  )
  expect(html).toContain('Fall of AUC when')
})
