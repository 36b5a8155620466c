/** Tests what a training program is told about the model definition. */
import { expect, it } from 'vitest'
import { jobOfDefinition } from '../../../domain/training/program-job.ts'
import type { ModelDefinition } from '../../../domain/model-definition.ts'

const definition = {
  name: 'price',
  features: {
    miles: { kind: 'number', min: 0, max: 6_000, missing: 'fill', outside: 'missing' },
    size: { kind: 'number', min: 1, max: 9 },
    colour: { kind: 'category' },
  },
  featureOrder: ['miles', 'size', 'colour'],
  label: { column: 'label', output: { kind: 'number' } },
  split: { kind: 'hash', test: 0.2, validation: 0.1, stratified: false },
} as unknown as ModelDefinition

it('names validation rows, or in a refit the rounds of the judged model', () => {
  const told = (rounds?: number) => {
    const { part, bestRound } = jobOfDefinition(definition, {}, rounds)
    return [part.validation, bestRound]
  }
  expect(told()).toEqual(['validation', undefined])
  expect(told(37)).toEqual([undefined, 37])
})

it('names the limits beyond which a number is missing, and no others', () => {
  expect(jobOfDefinition(definition, {}).columns).toEqual([
    { name: 'miles', kind: 'number', nullable: true, missingBelow: 0, missingAbove: 6_000 },
    { name: 'size', kind: 'number', nullable: false },
    { name: 'colour', kind: 'category', nullable: false },
  ])
})
