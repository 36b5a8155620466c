/**
 * Tests that no activity and no workflow takes more than ids. A client of Temporal chooses every argument, so what an activity does must
 * come from rows. The list is generated from the source: a new activity or a new argument is in it by itself.
 */
import { beforeAll, expect, it } from 'vitest'
import { readCallees, type Callee } from '../support/untrusted/arguments.ts'
import { claimsOf } from '../support/untrusted/kinds.ts'

let callees: Callee[]
beforeAll(() => {
  callees = readCallees()
})

it('every argument of an activity or a workflow is an id, or harmless', () => {
  expect(callees.length).toBeGreaterThan(40)
  const claims = callees.flatMap(claimsOf)
  expect(claims).toEqual([])
})

it('an argument that is no id is found: a text, a flag, a state, a second argument', () => {
  const planted: Callee = {
    name: 'promote',
    on: 'control',
    takes: [
      {
        kind: 'object',
        fields: {
          release: { kind: 'text' },
          message: { kind: 'text' },
          force: { kind: 'boolean' },
          model: { kind: 'anything' },
          state: {
            kind: 'object',
            fields: { id: { kind: 'text' }, approvals: { kind: 'list', of: { kind: 'text' } } },
          },
        },
      },
      { kind: 'object', fields: { state: { kind: 'text' } } },
    ],
  }
  expect(claimsOf(planted)).toEqual([
    'promote.message',
    'promote.force',
    'promote.model',
    'promote.state',
    'promote.(2)',
  ])
})
