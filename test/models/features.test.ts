import { expect, it } from 'vitest'
import type { NumberFeature } from '../../domain/model/features.ts'
import { checkFeatures, number } from '../../models/define/data/features.ts'

function issuesOf(feature: NumberFeature): string[] {
  const issues: string[] = []
  checkFeatures((place, issue) => void issues.push(`${place}: ${issue}`), { size: feature })
  return issues
}

it.each([
  ['without a range', number({ missing: 'fill', outside: 'missing' }), 'min or max'],
  ['without a fill', number({ min: 0, outside: 'missing' }), 'min or max'],
  [
    'by another word',
    number({ min: 0, missing: 'fill', outside: 'clamp' as 'missing' }),
    "'missing' or nothing",
  ],
])('a number whose values outside are imputed %s is refused', (_name, feature, issue) =>
  expect(issuesOf(feature)).toEqual([expect.stringContaining(`features.size.outside: ${issue}`)]),
)

it('a number whose values outside are imputed needs one end of its range and a fill', () =>
  expect(issuesOf(number({ max: 9, missing: 'fill', outside: 'missing' }))).toEqual([]))
