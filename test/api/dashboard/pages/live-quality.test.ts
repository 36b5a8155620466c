/** Tests what the model page says before the first window of quality. */
import { expect, it } from 'vitest'
import { outcomesDueAt } from '../../../../api/dashboard/pages/model/model.tsx'
import { QualitySection } from '../../../../api/dashboard/pages/model/model-parts.tsx'
import type { ChartSizes } from '../../../../api/dashboard/components/chart.tsx'
import { qualityPoints } from '../../../../api/dashboard/components/quality-points.ts'
import type { QualityWindow } from '../../../../store/dashboard/windows.ts'
import { completeMonitorPolicy } from '../../../../domain/monitoring/policy.ts'

const since = '2026-03-01T12:00:00.000Z'
const { observedMs } = completeMonitorPolicy(undefined)
const dueMs = Date.parse(since) + observedMs
const chart = { wide: '', narrow: '' } as unknown as ChartSizes
const parts = { points: [], metric: 'auc', chart, weekly: false, known: 0 }
const shown = async (nowMs: number, hasChampion = true) =>
  String(
    await QualitySection({
      ...parts,
      champion: hasChampion ? 'm_v1.0.0' : undefined,
      dueAt: hasChampion ? outcomesDueAt({ since }, undefined, nowMs) : undefined,
    }),
  )

it('names when quality is measured at the latest, until then', async () => {
  const at = new Date(dueMs).toISOString()
  expect(await shown(dueMs - 1)).toContain(at)
  for (const nowMs of [dueMs, dueMs + 86_400_000]) {
    const html = await shown(nowMs)
    expect(html).not.toContain(at)
    expect(html).toMatch(/Needs outcomes for 80 % of the predictions that are old enough, at least 100\./)
    expect(html).not.toContain('or after')
  }
})

it('does not call outcomes too few that the page counts below', async () => {
  const known = String(await QualitySection({ ...parts, known: 2_995, champion: 'm_v1.0.0' }))
  expect(known).toContain('Not measured yet.')
  expect(known).not.toContain('Not enough outcomes')
})

it('names no time without a champion', async () =>
  expect(await shown(dueMs - 1, false)).not.toContain('four in five'))

it('shows the other metrics of each window with their intervals', async () => {
  const measured = {
    baseline: 0.8,
    margin: 0.01,
    higherIsBetter: true,
    level: 'held',
    reasons: [],
    metric: 'auc',
    rows: 400,
  }
  const recall = { metric: 'recall', value: 0.75, standardError: 0.04, low: 0.665, high: 0.8211, rows: 120 }
  const windows = [null, 0.75].map((value, i) => ({
    version: 'm_v1.0.0',
    toMs: dueMs + i,
    report: {
      ...measured,
      value: 0.8,
      metrics: [{ ...recall, value, ...(value === null && { low: null, high: null }) }],
    },
  })) as unknown as QualityWindow[]
  const points = qualityPoints(windows)
  const html = String(await QualitySection({ ...parts, points, known: 1, champion: 'm_v1.0.0' }))
  expect(html).toContain('Other metrics, with intervals of 95 %')
  expect(html).toContain('Recall')
  expect(html).toContain('0.7500 (0.6650 – 0.8211)')
})
