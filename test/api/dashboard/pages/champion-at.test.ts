/** Tests the form of the model page that asks for the champion at a point in time. */
import { expect, it } from 'vitest'
import { typedInstant } from '../../../../domain/zoned-time.ts'
import { LiveAtForm } from '../../../../api/dashboard/pages/model/model.tsx'

const parts = { path: '/models/m', zone: 'UTC', model: 'm', live: undefined, first: undefined }

it.each([
  ['2026-03-01T12:00:00.000Z', '2026-03-01 12:00'],
  ['2026-03-01T12:00:30.000Z', '2026-03-01 12:00:30'],
  ['2026-03-01T12:00:30.250Z', '2026-03-01 12:00:30.250'],
  ['2026-03-01T12:00:00.250Z', '2026-03-01 12:00:00.250'],
])('keeps the time %s that it was asked for, and sends it again', async (at, shown) => {
  const html = String(await LiveAtForm({ ...parts, at }))
  expect(/ id="at"[^>]* value="([^"]*)"/.exec(html)?.[1]).toBe(shown)
  expect(typedInstant(shown, 'UTC')).toBe(at)
})

it('tells of more verdicts than it shows without a number, because only the newest are read', async () => {
  const decision = { at: '2026-03-01T12:00:00.000Z', stage: 'canary', judge: 'canary@9', reasons: [] }
  const live = {
    model: 'm',
    version: 'm_v1.1.0',
    artifactDigest: 'a',
    since: '2026-03-01T12:00:00.000Z',
    cause: 'promotion' as const,
    actor: 'release',
    reason: 'passed all stages',
    decisions: Array.from({ length: 50 }, (_, id) => ({ ...decision, id, kind: 'pass' as const })),
  }
  const html = String(await LiveAtForm({ ...parts, at: '2026-03-01T12:00:00.000Z', live }))
  expect(html).toContain('and earlier ones')
  expect(html).not.toContain('47')
})
