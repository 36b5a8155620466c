/** Tests the sentence, the remedy and the order of groups of alerts, over every kind. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { stepsOf } from '../../../api/dashboard/pages/operations/runbook.tsx'
import {
  groupName,
  groupPath,
  groupSentence,
  maxGroupSentence,
  worstGroupsFirst,
  type AlertGroup,
} from '../../../domain/monitoring/alert-groups.ts'
import {
  alertKinds,
  guidanceOf,
  kindsThatEnd,
  runbookPage,
  type AlertKind,
} from '../../../domain/monitoring/alert-kinds.ts'
import { checkout } from '../../../temporal.config.ts'

/** A name of a model may have 63 letters. */
const longest = 'eu-west-flight-delay-departures-by-carrier-and-hour-of-the-day'
const names = {
  model: longest,
  version: `${longest}_v12.104.3`,
  release: 'rel_01a20355fe9a7a11ae76a2c5c112f483',
}

describe.each(alertKinds)('the alerts of kind %s', (kind) => {
  it.each([undefined, 'iris', longest])('are a sentence of at most 90 characters that names %s', (model) => {
    for (const count of [1, 8, 12_345]) {
      const sentence = groupSentence({ kind, count, ...(model !== undefined && { model }) })
      expect(sentence.length).toBeLessThanOrEqual(maxGroupSentence)
      if (model !== undefined) expect(sentence.startsWith(model.slice(0, 20).replace(/-$/, ''))).toBe(true)
      if (count > 1) expect(sentence).toContain(count === 8 ? '8' : '12,345')
    }
  })

  it('have a page, and a next step and the steps of a runbook with the names of the alert', () => {
    expect(groupPath({ kind, model: longest })).toBe(`/alerts?model=${longest}&kind=${kind}`)
    expect(groupName({ kind })).toBe(kind)
    const source = readFileSync(join(checkout, 'docs', 'runbooks', runbookPage(kind)), 'utf8')
    const steps = stepsOf(source, { model: longest, evidence: names })
    expect(steps).toMatch(/^\n1\. .+\n/)
    for (const text of [steps!, ...guidanceOf({ kind, model: longest, evidence: names })])
      expect(text).not.toMatch(/<model>|<release>/)
    expect(guidanceOf({ kind })[1]).toMatch(/^Next: [A-Z]/)
  })
})

it('a group of events says how often, and one of conditions how many alerts', () => {
  const of = (kind: AlertKind, count: number) => groupSentence({ kind, model: 'iris', count })
  expect(of('release_rolled_back', 3)).toBe('iris: release rolled back 3 times')
  expect(of('quality_slice', 3)).toBe('iris: quality of a slice lost, 3 alerts')
  expect(groupSentence({ kind: 'disk_full', count: 1 })).toBe('A disk is full')
  expect(groupSentence({ kind: 'of_another_build', model: 'iris', count: 1 })).toBe('iris: of another build')
})

it('names of an alert that are no names leave the placeholders', () => {
  const evidence = { release: 'rel_1` [here](https://evil.example)' }
  expect(guidanceOf({ kind: 'release_rolled_back', model: 'iris', evidence })[1]).toContain('<release>')
})

it('groups are in the order of who looks after them, severity and newest state', () => {
  const group = (id: number, more: Partial<AlertGroup>): AlertGroup => ({
    id,
    kind: 'failed',
    severity: 'warning',
    count: 2,
    acknowledged: 1,
    since: '2026-03-01T00:00:00Z',
    changedAt: '2026-03-01T00:00:00Z',
    message: '',
    ...more,
  })
  const sorted = worstGroupsFirst([
    group(1, { acknowledged: 2, severity: 'critical' }),
    group(2, { severity: 'info' }),
    group(3, {}),
    group(4, { changedAt: '2026-03-02T00:00:00Z' }),
    group(5, { severity: 'critical' }),
  ])
  expect(sorted.map(({ id }) => id)).toEqual([5, 4, 3, 2, 1])
})

it('what a release asks ends when it is answered, so that the groups leave it out by that', () =>
  expect(kindsThatEnd('answered')).toEqual(['approval_needed', 'decision_needed']))
