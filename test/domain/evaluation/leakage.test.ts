/** Tests how well single features separate classes or predict numbers. */
import { describe, expect, it } from 'vitest'
import { rankCorrelation, separationOfClasses } from '../../../domain/evaluation/leakage.ts'
import { seededRandom } from '@tenure/sequential'

const random = seededRandom(1)
const classes = Array.from({ length: 300 }, (_, row) => ['a', 'b', 'c'][row % 3]!)
const noise = classes.map(() => random())

describe('a number that separates the classes', () => {
  it('is found whatever the order of the classes in it', () => {
    const code: Record<string, number> = { a: 7, b: -1, c: 3 }
    expect(
      separationOfClasses(
        classes,
        classes.map((name, row) => code[name]! + 0.5 * noise[row]!),
      ),
    ).toBe(1)
  })

  it('is no leak when it separates one class only', () => {
    const one = classes.map((name, row) => (name === 'a' ? 10 : 0) + noise[row]!)
    expect(separationOfClasses(classes, one)).toBeLessThan(0.7)
    expect(separationOfClasses(classes, noise)).toBeLessThan(0.7)
  })

  it('is not searched for in classes of fewer than 20 rows', () => {
    expect(separationOfClasses(classes.slice(0, 57), noise)).toBeNull()
  })
})

describe('a number that follows the label', () => {
  const label = noise.map((value, row) => 100 * value + row / 10)
  it('has a rank correlation near 1, in either direction and on any scale', () => {
    expect(
      rankCorrelation(
        label,
        label.map((value) => -Math.exp(value / 20)),
      ),
    ).toBeCloseTo(1, 12)
    expect(
      rankCorrelation(
        label,
        label.map((value, row) => value + noise[(row + 7) % 300]!),
      ),
    ).toBeGreaterThan(0.99)
  })

  it('has none when it is constant, unrelated or has few rows', () => {
    expect(
      rankCorrelation(
        label,
        label.map(() => 1),
      ),
    ).toBeNull()
    expect(rankCorrelation(label.slice(0, 19), label.slice(0, 19))).toBeNull()
    expect(
      rankCorrelation(
        label,
        noise.map((_, row) => noise[(row * 7 + 3) % 300]!),
      ),
    ).toBeLessThan(0.3)
  })
})
