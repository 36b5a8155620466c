/** Tests how well single features separate classes or predict numbers. */
import { describe, expect, it } from 'vitest'
import { areCopied, rankCorrelation, separationOfClasses } from '../../../domain/evaluation/leakage.ts'
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

describe('equal rows', () => {
  const sizesOf = (rows: readonly number[]) => {
    const count = (values: Iterable<number>) => {
      const counts = new Map<number, number>()
      for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1)
      return counts
    }
    return count(count(rows).values())
  }
  const drawn = (rows: number, cells: number, skew = 1) =>
    Array.from({ length: rows }, () => Math.floor(cells * random() ** skew))

  it('that are drawn from few or many values, evenly or not, are no copies', () => {
    const copied = [1, 2, 4].flatMap((skew) =>
      [5, 100, 1_000, 10_000, 1e6].flatMap((cells) =>
        [300, 2_000, 20_000].map((rows) => areCopied(sizesOf(drawn(rows, cells, skew)))),
      ),
    )
    expect(copied).toEqual(copied.map(() => false))
  })

  it('are copies after an import that ran twice, of some or all rows, also of few values', () => {
    const rows = drawn(900, 1e9)
    const half = rows.slice(0, 450)
    const few = drawn(900, 2_000)
    for (const more of [rows, half, [...rows, ...half]])
      expect(areCopied(sizesOf([...rows, ...more]))).toBe(true)
    expect(areCopied(sizesOf([...few, ...few]))).toBe(true)
    expect(areCopied(sizesOf([...rows, ...rows.slice(0, 15)]))).toBe(false)
  })
})
