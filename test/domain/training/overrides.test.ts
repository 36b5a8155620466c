/** Tests the comparison of overrides with the declared hyperparameters. */
import { describe, expect, it } from 'vitest'
import {
  issuesOfOverrides,
  realOverrides,
  requireOverrides,
  withOverrides,
} from '../../../domain/training/overrides.ts'

const model = { name: 'iris', hyperparameters: { units: 16, optimizer: 'adam', dropout: false } }

describe('overrides of hyperparameters', () => {
  it('of declared names and kinds have no issue', () => {
    expect(issuesOfOverrides(model, { units: 32.5, optimizer: 'sgd', dropout: true })).toEqual([])
  })

  it.each([
    [{ unit: 32 }, 'iris has no hyperparameter "unit": it has units, optimizer, dropout'],
    [{ toString: 1 }, 'iris has no hyperparameter "toString": it has units, optimizer, dropout'],
    [{ units: '32' }, 'the hyperparameter units is a finite number (16 in the model file), not "32"'],
    [{ units: NaN }, 'the hyperparameter units is a finite number (16 in the model file), not NaN'],
    [{ units: null }, 'the hyperparameter units is a finite number (16 in the model file), not null'],
    [
      { optimizer: 1 },
      `the hyperparameter optimizer is a text ("adam" in the model file), not 1: write "1" in quotes, as in --set 'optimizer="1"'`,
    ],
    [{ dropout: 'no' }, 'the hyperparameter dropout is true or false (false in the model file), not "no"'],
    [
      { units: `postgres://u:${'p'.repeat(100)}@h/db` },
      'the hyperparameter units is a finite number (16 in the model file), not "postgres://u:[redacted]@h/db"',
    ],
  ])('%j are refused with what the model file declares', (overrides, issue) => {
    expect(issuesOfOverrides(model, overrides)).toEqual([issue])
  })

  it('of a model without hyperparameters are refused', () => {
    expect(issuesOfOverrides({ name: 'sky', hyperparameters: {} }, { a: 1 })).toEqual([
      'sky has no hyperparameter "a": its model file declares none',
    ])
  })

  it.each([
    [model, 'Set hyperparameters of the model file, which has units=16, optimizer="adam", dropout=false.'],
    [
      { name: 'sky', hyperparameters: {} },
      expect.stringMatching(/^Leave hyperparameters out, or declare them/),
    ],
  ])('that do not fit are refused with those that the model file has: %j', (given, remedy) => {
    expect(() => requireOverrides(given, { unit: 32 })).toThrow(
      expect.objectContaining({ code: 'invalid_request', remedy }),
    )
    expect(() => requireOverrides(given, null)).not.toThrow()
  })

  it('replace the declared values, and equal values are no overrides', () => {
    expect(withOverrides(model.hyperparameters, { units: 32 })).toEqual({
      ...model.hyperparameters,
      units: 32,
    })
    expect(realOverrides(model.hyperparameters, { units: 16, dropout: true })).toEqual({ dropout: true })
    expect(realOverrides(model.hyperparameters, { units: 16 })).toBeUndefined()
  })
})
