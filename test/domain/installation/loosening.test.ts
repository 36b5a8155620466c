/** Tests which settings of a developer wait for an approver: those that loosen a policy. Walks all words of the policies. */
import { describe, expect, it } from 'vitest'
import { policyWords } from '../../../docs/generate/pages/policy.ts'
import { loosenedField, tighteningOf, tightenings } from '../../../domain/installation/loosening.ts'
import { codeChange } from '../../../domain/installation/model-files.ts'
import type { ModelDefinition } from '../../../domain/model-definition.ts'

/** A definition with this value at this path. */
const withValue = (path: string, value: unknown): ModelDefinition => {
  const definition = { release: {}, evaluation: { policy: { primary: 'auc' } }, monitor: {}, label: {} }
  const parts = path.split('.')
  let at = definition as Record<string, unknown>
  for (const part of parts.slice(0, -1)) at = (at[part] ??= {}) as Record<string, unknown>
  if (value !== undefined) at[parts.at(-1)!] = value
  return definition as unknown as ModelDefinition
}
const loosens = (path: string, [before, after]: [unknown, unknown]) =>
  loosenedField(withValue(path, before), withValue(path, after))

const words = policyWords()
const ordered = words.filter(({ path }) => !['waits', 'free'].includes(tighteningOf(path)))

describe('of the words of the policies', () => {
  it.each(ordered)('$path waits where it loosens, and applies where it tightens', ({ path, type }) => {
    const [low, high] = type === 'boolean' ? [false, true] : [2, 3]
    const isUp = loosens(path, [high, low]) !== undefined
    const [tighter, looser] = isUp ? [high, low] : [low, high]
    expect(loosens(path, [looser, tighter])).toBeUndefined()
    expect(loosens(path, [tighter, looser])).toBe(path)
    expect(loosens(path, [tighter, tighter])).toBeUndefined()
    // A value that is taken away, or becomes a text or null, waits.
    for (const value of ['off', null]) expect(loosens(path, [tighter, value])).toBe(path)
    if (!path.startsWith('monitor.') && !path.includes('qualification'))
      expect(loosens(path, [tighter, undefined])).toBe(path)
    const direction = tighteningOf(path)
    if (direction.startsWith('more')) expect(tighter).toBe(high)
    if (direction.startsWith('less')) expect(tighter).toBe(low)
  })

  it('each that is a number or a switch has a direction, or is named here', () => {
    const rest = words.filter(
      ({ path, type }) => /^(number|boolean)/.test(type) && ['waits', 'free'].includes(tighteningOf(path)),
    )
    expect(rest.map(({ path }) => `${path} ${tighteningOf(path)}`)).toMatchInlineSnapshot(`
      [
        "release.watch.tickMs waits",
        "release.watch.acknowledgeMs waits",
        "release.limits.shadowCost waits",
        "release.limits.restartMs waits",
        "release.limits.ramp.reactionSeconds waits",
        "release.limits.business.revenue.min waits",
        "release.limits.business.revenue.max waits",
        "release.limits.business.revenue.withinMs waits",
        "release.limits.business.revenue.delayMs waits",
        "release.limits.business.revenue.lowerIsBetter waits",
        "release.limits.external.complaints.limit waits",
        "release.limits.external.complaints.min waits",
        "release.limits.external.complaints.max waits",
        "release.limits.external.complaints.lowerIsBetter waits",
        "release.limits.external.complaints.everyMs waits",
        "release.limits.external.complaints.delayMs waits",
        "release.limits.external.complaints.minRequests waits",
        "release.ab.alpha waits",
        "release.drill.everyMs waits",
        "release.drill.shareBp waits",
        "release.drill.harmBudget waits",
        "release.drill.withinMs waits",
        "evaluation.policy.resamples waits",
        "evaluation.policy.seed waits",
        "evaluation.policy.threshold free",
        "evaluation.policy.top waits",
        "evaluation.policy.range.min waits",
        "evaluation.policy.range.max waits",
        "monitor.settleMs waits",
        "monitor.spanMs waits",
        "monitor.countMs waits",
        "monitor.observedMs waits",
        "monitor.retrain free",
        "monitor.business.warn waits",
        "monitor.business.alarm waits",
        "monitor.business.lowerIsBetter waits",
        "monitor.cost.perPrediction free",
        "monitor.cost.processorHour free",
        "monitor.cost.gibHour free",
        "monitor.cost.perDay free",
        "monitor.cooldown.afterMs.drift free",
        "monitor.cooldown.afterMs.quality free",
        "monitor.cooldown.afterMs.labels free",
        "monitor.cooldown.maxMs free",
        "monitor.cooldown.maxPerWeek free",
        "monitor.cooldown.weekMs free",
        "monitor.cooldown.newRowsShare free",
        "monitor.cooldown.newRowsAfterRejectShare free",
        "monitor.cooldown.rejectsToBreak free",
      ]
    `)
  })

  it('each entry of the table decides a word', () => {
    const paths = [
      ...words.map(({ path }) => path),
      'label.output.threshold',
      'release.shadow.minMs',
      'release.shadow.shareBp',
      'evaluation.policy.floors.auc',
      'evaluation.policy.margins.auc',
      'monitor.quality.warn',
      'monitor.drift.features.x.warn',
    ]
    for (const entry of tightenings)
      expect(
        paths.some((path) => tightenings.find(([pattern]) => pattern.test(path)) === entry),
        String(entry[0]),
      ).toBe(true)
  })
})

it.each([
  ['evaluation.policy.floors.accuracy', [0.8, 0.34]],
  ['evaluation.policy.floors.brier', [0.2, 0.3]],
  ['evaluation.policy.margins.accuracy', [0.01, 0.9]],
  ['release.approval.approvers', [1, 0]],
  ['release.stages.1.minMs', [600_000, undefined]],
  ['release.qualification.p99Us', [undefined, 1_000_000]],
  ['release.hotfix.stages.0.shareBp', [undefined, 5_000]],
  ['release.limits.ramp.reactionSeconds', [undefined, 1]],
  ['monitor.quality.alarm', [0.8, 0.5]],
  ['release.a word of tomorrow', [1, 2]],
] as [string, [unknown, unknown]][])('%s needs an approval when it changes as %j', (path, change) => {
  const [before, after] = change.map((value) => ({ definition: withValue(path, value), files: {} }))
  expect(codeChange(before, after!)).toBe(`${path} loosens its policy`)
})

it.each([
  ['evaluation.policy.floors.accuracy', [0.34, 0.8]],
  ['evaluation.policy.floors.brier', [undefined, 0.3]],
  ['release.approval.approvers', [1, 2]],
  ['release.stages.1.minMs', [undefined, 600_000]],
  ['release.qualification.p99Us', [undefined, 1_000]],
  ['evaluation.policy.threshold', [0.5, 0.1]],
] as [string, [unknown, unknown]][])('%s applies at once when it changes as %j', (path, change) => {
  const [before, after] = change.map((value) => ({ definition: withValue(path, value), files: {} }))
  expect(codeChange(before, after!)).toBeUndefined()
})
