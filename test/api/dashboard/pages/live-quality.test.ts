/** Tests what the model page says before the first window of quality. */
import { expect, it } from 'vitest'
import { outcomesDueAt } from '../../../../api/dashboard/pages/model/model.tsx'
import { QualitySection } from '../../../../api/dashboard/pages/model/model-parts.tsx'
import { completeMonitorPolicy } from '../../../../domain/monitoring/policy.ts'

const since = '2026-03-01T12:00:00.000Z'
const { observedMs } = completeMonitorPolicy(undefined)
const dueMs = Date.parse(since) + observedMs
const parts = { points: [], metric: 'auc', chart: undefined as never, weekly: false, known: 0 }
const shown = async (nowMs: number, hasChampion = true) =>
  String(
    await QualitySection({
      ...parts,
      hasChampion,
      dueAt: hasChampion ? outcomesDueAt({ since }, undefined, nowMs) : undefined,
    }),
  )

it('names when quality is measured at the latest, until then', async () => {
  const at = new Date(dueMs).toISOString()
  expect(await shown(dueMs - 1)).toContain(at)
  for (const nowMs of [dueMs, dueMs + 86_400_000]) {
    const html = await shown(nowMs)
    expect(html).not.toContain(at)
    expect(html).toMatch(
      /once four in five predictions that are old enough have an outcome, at least\s+100\./,
    )
    expect(html).not.toContain('or after')
  }
})

it('does not call outcomes too few that the page counts below', async () => {
  const known = String(await QualitySection({ ...parts, known: 2_995, hasChampion: true }))
  expect(known).toContain('Not measured yet.')
  expect(known).not.toContain('Not enough outcomes')
})

it('names no time without a champion', async () =>
  expect(await shown(dueMs - 1, false)).not.toContain('four in five'))
