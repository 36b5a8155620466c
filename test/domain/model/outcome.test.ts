/** Tests which outcomes are valid for a version after its model file has changed. */
import { expect, it } from 'vitest'
import type { Output, OutcomeValue } from '../../../domain/tasks/output.ts'
import { canonicalOutcome, issueOfOutcome, outcomeOfText } from '../../../domain/model/outcome.ts'

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
  [0, { kind: 'number', min: 0 }, { kind: 'number', min: 5 }],
  [-3, { kind: 'number', min: 0 }, { kind: 'number', min: -5 }],
])('accepts %o of a version with %o where the model file says %o', (value, output, now) =>
  expect(issueOfOutcome(output, value, now)).toBeUndefined(),
)

it.each<[OutcomeValue, Output, Output, RegExp]>([
  [37.5, yesNo, number, /37\.5 is not true or false, yes or no, 1 or 0/],
  ['a', yesNo, classes, /"a" is not true or false, yes or no, 1 or 0/],
  [true, number, yesNo, /true is not a finite number/],
  [true, classes, yesNo, /true is not one of the classes a, b/],
  ['d', classes, { kind: 'classes', classes: ['a', 'c'] }, /"d" is not one of the classes a, b/],
  [1, numbers, number, /1 is not an object/],
  [-3, { kind: 'number', min: 0 }, { kind: 'number', min: 0 }, /^-3 is outside of the label's min 0$/],
  [
    61,
    { kind: 'quantiles', levels: [0.1, 0.9], min: 0, max: 60 },
    yesNo,
    /^61 is outside of the label's min 0 and max 60$/,
  ],
  [{ x: 1, y: 9 }, { ...numbers, max: 5 }, yesNo, /^"y": 9 is outside of the label's max 5$/],
  [{ x: 1, z: 2 }, numbers, { kind: 'numbers', names: ['x', 'z'] }, /lacks "y"/],
])('refuses %o of a version with %o where the model file says %o', (value, output, now, issue) =>
  expect(issueOfOutcome(output, value, now)).toMatch(issue),
)

it.each<[OutcomeValue, OutcomeValue]>([
  ['late', true],
  ['yes', true],
  ['No', false],
  ['t', true],
  [0, false],
  ['soon', 'soon'],
])('%o is read as %o where the label of a file would be', (value, read) => {
  expect(canonicalOutcome(yesNo, value)).toBe(read)
  expect(outcomeOfText(yesNo, String(value))).toBe(read)
})
