/** Tests which hyperparameters a sweep tries, which trials it stops and which trial it selects. */
import { describe, expect, it } from 'vitest'
import { medianStop } from '../../../domain/training/median-stop.ts'
import { requireValidation } from '../../../domain/training/require-validation.ts'
import { bestTrial, candidatesOf, issuesOfSweep } from '../../../domain/training/sweep-plan.ts'

const model = { name: 'iris', hyperparameters: { units: 16, rate: 0.01, wide: false } }

describe('the trials of a sweep', () => {
  it('of a grid are every combination of its lists', () => {
    expect(candidatesOf(model, { units: [8, 16], wide: [true, false] }, { seed: 1 })).toEqual([
      { units: 8, wide: true },
      { units: 8, wide: false },
      { units: 16, wide: true },
      { units: 16, wide: false },
    ])
  })

  it('contain a setting once although a value is given twice', () => {
    expect(candidatesOf(model, { units: [4, 4, 8], wide: [true, true] }, { seed: 1 })).toEqual([
      { units: 4, wide: true },
      { units: 8, wide: true },
    ])
    expect(issuesOfSweep(model, { units: Array(201).fill(4) }, undefined)).toEqual([])
    const draws = Array.from({ length: 40 }, (_, seed) =>
      candidatesOf(model, { units: [...Array<number>(50).fill(4), 8] }, { random: 1, seed }),
    )
    expect(draws.filter(([each]) => each?.['units'] === 8).length).toBeGreaterThan(8)
  })

  it('drawn at random are distinct, the same for one seed, inside their ranges, and whole where the file is whole', () => {
    const space = { units: { low: 4, high: 64 }, rate: { low: 0.0001, high: 0.1 }, wide: [true, false] }
    const drawn = candidatesOf(model, space, { random: 60, seed: 3 })
    expect(drawn).toEqual(candidatesOf(model, space, { random: 60, seed: 3 }))
    expect(new Set(drawn.map((each) => JSON.stringify(each))).size).toBe(60)
    const units = drawn.map((each) => Number(each['units']))
    expect(units.every((each) => Number.isInteger(each) && each >= 4 && each <= 64)).toBe(true)
    // Uniform in the logarithm: a third of the draws in each decade.
    const small = drawn.filter((each) => Number(each['rate']) < 0.001).length
    expect(small).toBeGreaterThan(8)
    expect(small).toBeLessThan(32)
  })

  it('of a small space are no more than it has', () => {
    expect(candidatesOf(model, { wide: [true, false] }, { random: 30, seed: 1 })).toHaveLength(2)
  })

  it('drawn from a wide range of whole numbers are uniform in the logarithm, and keep to a narrow range', () => {
    const wide = candidatesOf(model, { units: { low: 1, high: 1_000 } }, { random: 90, seed: 1 })
    const small = wide.filter(({ units }) => Number(units) < 32).length
    expect(small).toBeGreaterThan(15)
    const narrow = candidatesOf(model, { rate: { low: 0.999961, high: 0.99999 } }, { random: 20, seed: 1 })
    expect(narrow).toHaveLength(20)
    expect(narrow.every(({ rate }) => Number(rate) >= 0.999961 && Number(rate) <= 0.99999)).toBe(true)
  })

  it.each([
    [{}, undefined, 'no hyperparameter to try'],
    [{ layers: [1, 2] }, undefined, 'iris has no hyperparameter "layers"'],
    [{ units: ['many'] }, undefined, 'the hyperparameter units is a finite number'],
    [{ units: { low: 8, high: 8 } }, 5, 'the range of units must rise, not 8 to 8'],
    [{ units: { low: 1, high: 8 } }, undefined, 'units is a range, which needs a number of random draws'],
    [{ wide: [false, 1] }, 5, 'the hyperparameter wide is true or false'],
    [{ units: Array.from({ length: 201 }, (_, each) => each) }, undefined, '201 trials are more than 200'],
    [{ units: [1] }, 500, '500 trials are more than 200'],
  ])('%j cannot be tried with %s draws', (space, random, issue) => {
    expect(issuesOfSweep(model, space, random)).toEqual([expect.stringContaining(issue)])
  })

  it('require validation rows; without them the error names the line to add to the model file', () => {
    const hash = { kind: 'hash', test: 0.2, stratified: false } as const
    expect(() => requireValidation({ name: 'iris', split: hash })).toThrow(
      'add `validation: 0.1` to the split',
    )
    expect(() => requireValidation({ name: 'iris', split: { ...hash, validation: 0.1 } })).not.toThrow()
  })
})

describe('the best trial', () => {
  const trials = [0.7, undefined, NaN, 0.9, 0.9, 0.4].map((score, units) => ({ overrides: { units }, score }))
  it('has the best score in the direction of the metric, the first of equal ones', () => {
    expect(bestTrial(trials, true)?.overrides).toEqual({ units: 3 })
    expect(bestTrial(trials, false)?.overrides).toEqual({ units: 5 })
    expect(bestTrial(trials.slice(1, 3), true)).toBeUndefined()
  })
})

describe('a trial that is worse than most', () => {
  const curve = (...losses: (number | undefined)[]) =>
    losses.map((validationLoss, index) => ({ epoch: index + 1, validationLoss }))
  const ended = [curve(5, 3, 1), curve(5, 4, 4), curve(6, 5, 5)]

  it('stops when its best loss is above the median of the ended ones by the same epoch', () => {
    expect(medianStop(curve(6, 4.5), ended)).toBe(
      'stopped early: validation loss 4.500 after epoch 2, the median of 3 trials is 4.000',
    )
  })

  it.each([
    ['as good as the median', curve(6, 4), ended],
    ['that was good before', curve(3, 9), ended],
    ['in its first epoch', curve(9), ended],
    ['after few others', curve(9, 9), ended.slice(1)],
    ['without validation losses', curve(undefined, undefined), ended],
    ['after others without validation losses', curve(9, 9), [curve(), curve(), curve()]],
  ])('goes on: %s', (_what, mine, others) => expect(medianStop(mine, others)).toBeUndefined())
})
