/** Tests which outcomes are valid for a version after its model file has changed. */
import { expect, it } from 'vitest'
import type { Output } from '../../../domain/model/features.ts'
import { issueOfOutcome, type OutcomeValue } from '../../../domain/model/outcome.ts'

const yesNo: Output = { kind: 'probability', positive: 'late', threshold: 0.5 }
const number: Output = { kind: 'number' }
const classes: Output = { kind: 'classes', classes: ['a', 'b'] }
const numbers: Output = { kind: 'numbers', names: ['x', 'y'] }

it.each<[OutcomeValue, Output, Output]>([
  ['c', classes, { kind: 'classes', classes: ['a', 'c'] }],
  ['b', classes, { kind: 'classes', classes: ['a', 'c'] }],
  ['b', classes, number],
  [{ x: 1, y: 2, z: 3 }, numbers, { kind: 'numbers', names: ['x', 'z'] }],
  [{ x: 1, y: 2 }, numbers, number],
  [true, yesNo, number],
])('accepts %o of a version with %o where the model file says %o', (value, output, now) =>
  expect(issueOfOutcome(output, value, now)).toBeUndefined(),
)

it.each<[OutcomeValue, Output, Output, RegExp]>([
  [37.5, yesNo, number, /37\.5 is not true, false, 1 or 0/],
  ['a', yesNo, classes, /"a" is not true, false, 1 or 0/],
  [true, number, yesNo, /true is not a finite number/],
  [true, classes, yesNo, /true is not one of the classes a, b/],
  ['d', classes, { kind: 'classes', classes: ['a', 'c'] }, /"d" is not one of the classes a, b/],
  [1, numbers, number, /1 is not an object/],
  [{ x: 1, z: 2 }, numbers, { kind: 'numbers', names: ['x', 'z'] }, /lacks "y"/],
])('refuses %o of a version with %o where the model file says %o', (value, output, now, issue) =>
  expect(issueOfOutcome(output, value, now)).toMatch(issue),
)
