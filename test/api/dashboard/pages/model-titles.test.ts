/** Tests the sentences above the charts of a model: they say what is known, of which version, and what is not. */
import { expect, it } from 'vitest'
import { driftTitle, QualitySection } from '../../../../api/dashboard/pages/model/model-parts.tsx'
import type { QualityPart } from '../../../../api/dashboard/pages/model/model-parts.tsx'
import type { MeasuredPoint } from '../../../../api/dashboard/components/quality-points.ts'
import type { LastDrift } from '../../../../store/dashboard/windows.ts'

const rows = (levels: readonly string[]) =>
  levels.map((level, i) => ({ name: `f${i}`, level, psi: level === 'insufficient' ? null : 0.1 * (i + 1) }))
const driftOf = (level: string, features: readonly string[], score = 'stable') =>
  driftTitle({
    report: { level, features: rows(features), score: { name: 'score', level: score, psi: 0.3 } },
  } as unknown as LastDrift)

it.each([
  [driftOf('stable', ['stable', 'stable']), 'None of 2 features drifted'],
  [driftOf('stable', ['stable', 'insufficient']), 'None of 2 features drifted; 1 not measured'],
  [driftOf('alarm', ['warn', 'stable', 'alarm']), '2 of 3 features drifted: f2 PSI 0.3, f0 PSI 0.1'],
  [driftOf('alarm', ['warn', 'warn', 'alarm']), '3 of 3 features drifted: f2 PSI 0.3, f1 PSI 0.2 …'],
  [driftOf('warn', ['stable'], 'warn'), 'None of 1 feature drifted; the predictions drifted'],
  [driftOf('insufficient', ['insufficient']), 'Drift is not measured: too few requests'],
])('drift: %s', (title, expected) => expect(title).toBe(expected))

const point = {
  atMs: 0,
  value: 0.658,
  low: null,
  high: null,
  baseline: 0.71,
  limit: 0.675,
  version: 'm_v1.0.0',
  level: 'lost',
  isWithin: false,
  rows: 1_900,
  metrics: [],
} satisfies MeasuredPoint
const part = { metric: 'auc', chart: { wide: '', narrow: '' }, weekly: true, known: 0, champion: 'm_v1.0.0' }
const titleOf = (given: Partial<QualityPart>) =>
  /<h2[^>]*>(.*?)<\/h2>/.exec(String(QualitySection({ ...part, points: [point], ...given })))![1]

it.each([
  [{}, 'AUC 0.6580, lost: the limit is 0.6750'],
  [
    { points: [{ ...point, level: 'held' as const }] },
    'AUC 0.6580, past the limit of 0.6750, which may be chance',
  ],
  [
    { points: [{ ...point, value: 0.675, level: 'held' as const, isWithin: true }] },
    'AUC 0.6750, within the limit of 0.6750',
  ],
  [
    {
      metric: 'brier',
      points: [{ ...point, baseline: 0.1, limit: 0.12, value: 0.13, level: 'held' as const }],
    },
    'Brier score 0.1300, past the limit of 0.1200, which may be chance',
  ],
  [{ points: [{ ...point, limit: null }] }, 'AUC 0.6580, too few outcomes to judge'],
  [
    { champion: 'm_v1.1.0' },
    'AUC 0.6580 of m_v1.0.0, lost: the limit is 0.6750. The champion is not measured yet',
  ],
  [{ points: [] }, 'Quality is not measured yet'],
])('quality: %o', (given, expected) => expect(titleOf(given)).toBe(expected))
