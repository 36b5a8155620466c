/** Tests the comparison of a state file with the live state and the last applied state. */
import { describe, expect, it } from 'vitest'
import { changedFields, changedSince, planState } from '../../../domain/installation/plan.ts'
import type { AppliedResource, Resource } from '../../../domain/installation/resource.ts'

const key = (name: string, role: string): Resource => ({ kind: 'key', name, value: { role } })
const model = (code: string, definition: object = {}): Resource => ({
  kind: 'model',
  name: 'iris',
  value: { code, definition },
})
const applied = (resource: Resource): AppliedResource => ({
  ...resource,
  at: '2026-01-01T00:00:00Z',
  actor: 'ada',
})

describe('a plan', () => {
  it('adds, changes and keeps, with models before what needs them', () => {
    const desired = {
      kinds: ['killSwitch', 'key', 'model'] as const,
      resources: [
        { kind: 'killSwitch' as const, name: 'iris', value: { serve: 'champion' } },
        key('ada', 'operator'),
        key('same', 'viewer'),
        model('b'),
      ],
    }
    const live = [key('same', 'viewer'), key('ada', 'viewer'), key('other', 'viewer'), model('a')]
    expect(planState(desired, live)).toEqual({
      changes: [
        { kind: 'model', name: 'iris', before: model('a').value, after: model('b').value },
        { kind: 'key', name: 'ada', before: { role: 'viewer' }, after: { role: 'operator' } },
        { kind: 'killSwitch', name: 'iris', before: { serve: 'normal' }, after: { serve: 'champion' } },
      ],
      kept: [{ kind: 'key', name: 'other' }],
      changedByHand: [],
    })
  })

  it('deletes only what its sections do not name, and only when pruned', () => {
    const live = [
      key('other', 'viewer'),
      { kind: 'killSwitch' as const, name: 'iris', value: { serve: 'refuse' } },
      { kind: 'schedule' as const, name: 'retention', value: { paused: false } },
      model('a'),
    ]
    const desired = { kinds: ['key', 'killSwitch', 'schedule'] as const, resources: [] }
    expect(planState(desired, live, { prune: true })).toMatchObject({
      changes: [
        { kind: 'key', name: 'other', before: { role: 'viewer' }, after: undefined },
        { kind: 'killSwitch', name: 'iris', before: { serve: 'refuse' }, after: { serve: 'normal' } },
      ],
      kept: [],
    })
  })

  it('changes nothing where the live state is as desired', () => {
    const resources = [
      key('ada', 'viewer'),
      { kind: 'killSwitch' as const, name: 'iris', value: { serve: 'normal' } },
    ]
    const { changes } = planState({ kinds: ['key', 'killSwitch'], resources }, [key('ada', 'viewer')])
    expect(changes).toEqual([])
  })
})

it('reports manual changes; for a model, only by the digest of its code', () => {
  const before = [applied(key('ada', 'viewer')), applied(key('gone', 'viewer')), applied(model('a'))]
  const live = [key('ada', 'admin'), model('a', { about: 'other' })]
  expect(changedSince(before, live).map(({ name, live }) => [name, live])).toEqual([
    ['ada', { role: 'admin' }],
    ['gone', undefined],
  ])
})

it('the differing fields are named at any depth', () => {
  const one = { same: 1, list: [1, { a: 2 }], gone: { x: 1 } }
  const other = { same: 1, list: [1, { a: 3 }, 4], more: { y: null } }
  expect(changedFields(one, other)).toEqual([
    { path: 'list.1.a', before: 2, after: 3 },
    { path: 'list.2', before: undefined, after: 4 },
    { path: 'gone.x', before: 1, after: undefined },
    { path: 'more.y', before: undefined, after: null },
  ])
})
