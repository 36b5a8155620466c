/** Tests that the refusal of a feature name says what is allowed and suggests a valid name. */
import { describe, expect, it } from 'vitest'
import { featureNameIssue, isFeatureName, plainName } from '../../../domain/project/feature-name.ts'

describe('the name of a feature', () => {
  it.each(['size', 'Size_2', 'constructor'])('may be %s', (name) => expect(isFeatureName(name)).toBe(true))

  it.each([
    ['unit price', 'unit_price'],
    ['_size', 'size'],
    ['2nd', 'nd'],
    ['größe', 'grosse'],
    ['naïve-café', 'naive_cafe'],
    ['Øre', 'Ore'],
    ['价格', undefined],
    ['', undefined],
  ])('is not "%s", and the refusal shows a name that fits', (name, fitting) => {
    expect(isFeatureName(name)).toBe(false)
    expect(plainName(name)).toBe(fitting)
    expect(fitting === undefined || isFeatureName(fitting)).toBe(true)
    expect(featureNameIssue(name)).toBe(
      `a name begins with a letter, a to z or A to Z, and has such letters, digits and _ only, as in ${fitting ?? 'unit_price'}`,
    )
  })
})
