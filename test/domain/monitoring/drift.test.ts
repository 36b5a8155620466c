import { describe, expect, it } from 'vitest'
import { countedPsi, judgeDrift } from '../../../domain/monitoring/drift.ts'
import { mergeCounts, type DriftWindow } from '../../../domain/monitoring/drift-window.ts'
import {
  binner,
  binNames,
  categoryProfile,
  countBins,
  numberProfile,
  type Profile,
} from '../../../domain/model/reference-profile.ts'
import { seededRandom, standardNormal } from '@tenure/sequential'

const uniform = seededRandom(5)
const normal = () => standardNormal(uniform)
const numbers = (n: number, shift = 0) => Array.from({ length: n }, () => normal() + shift)
const letters = (n: number, alphabet: string) =>
  Array.from({ length: n }, () => alphabet[Math.floor(uniform() * alphabet.length)]!)

const reference = numberProfile('x', numbers(5_000))
const judge = (
  profiles: Profile[],
  current: DriftWindow,
  previous: DriftWindow | null = null,
  importance?: Record<string, number>,
) =>
  judgeDrift({
    reference: { rows: 5_000, features: profiles },
    current,
    previous,
    ...(importance && { importance }),
  })
const window = (profile: Profile, values: (number | string | null)[]): DriftWindow => ({
  features: { [profile.name]: countBins(profile, values) },
})
const level = (...args: Parameters<typeof judge>) => judge(...args).features[0]!.level

describe('a profile of numbers', () => {
  it('has the unique deciles as edges and counts an edge to the bin above', () => {
    const profile = numberProfile('x', [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11])
    expect(profile.edges).toEqual([2, 3, 4, 5, 6, 7, 8, 9, 10])
    expect(profile.counts).toEqual([1, 1, 1, 1, 1, 1, 1, 1, 1, 2, 0])
    const bin = binner(profile)
    expect([1.999, 2, 1e9, -Infinity, NaN, null, undefined, 'x'].map(bin)).toEqual([
      0, 1, 9, 0, 10, 10, 10, 10,
    ])
    expect(binNames(profile)[1]).toBe('[2, 3)')
  })

  it('of a constant, of nothing and of nothing but missing values still has bins', () => {
    const above = 5 + 2 ** -21
    expect(numberProfile('x', [5, 5, 5])).toMatchObject({ edges: [5, above], counts: [0, 3, 0, 0] })
    expect(numberProfile('x', [])).toMatchObject({ edges: [], counts: [0, 0] })
    expect(numberProfile('x', [null, null])).toMatchObject({ edges: [], counts: [0, 2] })
    expect(binNames(numberProfile('x', []))).toEqual(['any', '__missing__'])
  })
})

describe('a profile of categories', () => {
  it('has a bin for the frequent ones, for the others, for new ones and for missing ones', () => {
    const profile = categoryProfile('c', ['b', 'a', 'b', null, 'c'])
    expect(profile.categories).toEqual(['b', 'a', 'c'])
    expect(profile.counts).toEqual([2, 1, 1, 0, 0, 1])
    expect(countBins(profile, ['z', '__proto__', null, 'b'])).toEqual([1, 0, 0, 0, 2, 1])
  })

  it('keeps thirty and counts the rest', () => {
    const many = Array.from({ length: 40 }, (_, i) => Array.from({ length: 40 - i }, () => `c${i}`)).flat()
    const profile = categoryProfile('c', many)
    expect(profile.categories).toHaveLength(30)
    expect(profile.rare).toHaveLength(10)
    expect(countBins(profile, ['c39', 'new']).slice(-3)).toEqual([1, 1, 0])
    const endless = categoryProfile(
      'c',
      Array.from({ length: 2_000 }, (_, i) => `c${i}`),
    )
    expect(endless.rare).toHaveLength(970)
    expect(countBins(endless, [...endless.rare.slice(0, 3), 'new', null]).slice(-3)).toEqual([3, 1, 1])
    // All but those with bins of their own: a value that training met once is likely to be followed by others.
    expect(endless.counts.slice(-3)).toEqual([0, 1_970, 0])
  })
})

describe('the reason of a drift', () => {
  const reasonOf = (profile: Profile, values: (number | string | null)[]) =>
    judge([profile], window(profile, values)).reasons[0]!.message

  it('names the two categories whose shares have moved most, also missing values', () => {
    const profile = categoryProfile('region', 'aaaaaabbbc'.repeat(500).split(''))
    const now = 'aaabbbbbbc'.repeat(500).split('')
    expect(reasonOf(profile, now)).toMatch(/; most moved: a \(60 % → 30 %\), b \(30 % → 60 %\)$/)
    expect(reasonOf(profile, [...now, ...now.map(() => null)])).toMatch(
      /; most moved: missing \(0 % → 50 %\), a \(60 % → 15 %\)$/,
    )
  })

  it('names a category that is called as a property of every object', () => {
    const named = (text: string) => text.split('').map((letter) => (letter === 'a' ? 'constructor' : letter))
    const profile = categoryProfile('built', named('aaaaaabbbc'.repeat(500)))
    expect(reasonOf(profile, named('aaabbbbbbc'.repeat(500)))).toMatch(
      /; most moved: constructor \(60 % → 30 %\), b \(30 % → 60 %\)$/,
    )
  })

  it('names the ranges of a number, with short edges', () => {
    const profile = numberProfile(
      'x',
      Array.from({ length: 3_000 }, (_, i) => i / 3),
    )
    expect(
      reasonOf(
        profile,
        Array.from({ length: 3_000 }, () => 1e6),
      ),
    ).toMatch(/; most moved: ≥ 899\.7 \(10 % → 100 %\), < 99\.97 \(10 % → 0 %\)$/)
    // Edges that differ late keep the digits by which they differ.
    const late = numberProfile(
      'at',
      Array.from({ length: 3_000 }, (_, i) => 1e9 + i),
    )
    expect(
      reasonOf(
        late,
        Array.from({ length: 3_000 }, () => 1e9 + 450),
      ),
    ).toMatch(/; most moved: 1000000300 – 1000000600 \(10 % → 100 %\),/)
  })
})

describe('a sudden drift', () => {
  const hours = (count: number, shift: (hour: number) => number) =>
    Array.from({ length: count }, (_, hour) => window(reference, numbers(600, shift(hour))))
  /** A day of 24 hours before, and the newest hour. */
  const level = (before: DriftWindow[], newest: DriftWindow, current: DriftWindow = newest) => {
    const profiles = { rows: 5_000, features: [reference] }
    const evidence = { counts: newest, before: countedPsi(profiles, before) }
    const report = judgeDrift({ reference: profiles, current, previous: null, newest: evidence })
    return [report.level, report.features[0]!.rows, report.reasons.map(({ message }) => message).join()]
  }
  const shifted = window(reference, numbers(600, 1.2))
  const diluted = window(reference, [...numbers(14_000), ...numbers(600, 1.2)])

  it('alarms within its first hour, although the day hides it', () => {
    const before = hours(24, () => 0)
    expect(level(before, shifted, diluted)).toEqual([
      'alarm',
      600,
      expect.stringMatching(/^feature "x" has drifted: PSI 1\.\d+ on 600 rows, .* suddenly: no count before/),
    ])
    const begun = hours(24, (hour) => (hour < 21 ? 0 : 1.2))
    expect(level(begun, shifted, diluted)[0]).toBe('alarm')
  })

  it('of a feature with the name of the answer is distinguished from drift of the answer', () => {
    const profiles = {
      rows: 5_000,
      features: [{ ...reference, name: 'score' }],
      score: { ...reference, name: 'score' },
    }
    const hour = (feature: number, answer: number): DriftWindow => ({
      features: { score: countBins(reference, numbers(600, feature)) },
      score: countBins(reference, numbers(600, answer)),
    })
    const sudden = (counts: DriftWindow, before: Record<string, number[]>) => {
      const evidence = { reference: profiles, current: counts, previous: null, newest: { counts, before } }
      const { features, score } = judgeDrift(evidence)
      return [features[0]?.sudden, score?.sudden]
    }
    const varied = Array.from({ length: 48 }, (_, at) => hour(0, at % 2 === 0 ? 1.2 : 0))
    expect(sudden(hour(1.2, 1.2), countedPsi(profiles, varied))).toEqual([true, undefined])
  })

  it('is not found in the first day, in a daily pattern, or where the change is moderate', () => {
    expect(
      level(
        hours(12, () => 0),
        shifted,
        diluted,
      )[0],
    ).toBe('stable')
    const daily = hours(48, (hour) => (hour % 24 === 0 ? 1.2 : 0))
    expect(level(daily, shifted, diluted)[0]).toBe('stable')
    const moderate = window(reference, numbers(600, 0.6))
    expect(
      level(
        hours(24, () => 0),
        moderate,
        diluted,
      )[0],
    ).toBe('stable')
    expect(
      level(
        hours(24, () => 0),
        window(reference, numbers(100, 1.2)),
        diluted,
      )[0],
    ).toBe('stable')
  })
})

describe('drift', () => {
  it('of 50 unchanged features over 30 windows of 300 rows never alarms', () => {
    const profiles = Array.from({ length: 50 }, (_, i) => numberProfile(`x${i}`, numbers(1_000)))
    let previous: DriftWindow | null = null
    let alarms = 0
    for (let i = 0; i < 30; i++) {
      const features = Object.fromEntries(profiles.map((each) => [each.name, countBins(each, numbers(300))]))
      alarms += judge(profiles, { features }, previous).features.filter((row) => row.level === 'alarm').length
      previous = { features }
    }
    expect(alarms).toBe(0)
  })

  it('of half a standard deviation warns in the first window', () => {
    expect(level([reference], window(reference, numbers(300, 0.5)))).toBe('warn')
  })

  it('of 0.7 standard deviations alarms in the second window, not in the first', () => {
    const [first, second] = [window(reference, numbers(300, 0.7)), window(reference, numbers(300, 0.7))]
    expect(level([reference], first)).toBe('warn')
    expect(level([reference], second, window(reference, numbers(300)))).toBe('warn')
    const report = judge([reference], second, first)
    expect(report.level).toBe('alarm')
    expect(report.reasons[0]).toMatchObject({ code: 'feature_drift_alarm' })
    expect(report.reasons[0]!.message).toContain('two consecutive windows')
  })

  it('is neither hidden nor caused by an outlier of 1e9', () => {
    expect(level([reference], window(reference, [...numbers(400), 1e9]))).toBe('stable')
    const fitted = numberProfile('x', [...numbers(5_000), 1e9, -1e9])
    expect(level([fitted], window(fitted, numbers(300, 0.7)))).toBe('warn')
  })

  it('is detected when values go missing, and when categories vanish', () => {
    expect(
      level([reference], window(reference, [...numbers(300), ...Array.from({ length: 60 }, () => null)])),
    ).toBe('warn')
    const profile = categoryProfile('c', letters(5_000, 'abcd'))
    expect(level([profile], window(profile, letters(400, 'abcd')))).toBe('stable')
    expect(level([profile], window(profile, letters(400, 'abc')))).toBe('warn')
  })

  it('is not evaluated below 300 rows, or 30 a bin', () => {
    expect(level([reference], window(reference, numbers(299, 3)))).toBe('insufficient')
    expect(level([reference], window(reference, numbers(300, 3)))).toBe('warn')
    const alphabet = 'abcdefghijklmnopqrst'
    const profile = categoryProfile('c', letters(5_000, alphabet))
    expect(level([profile], window(profile, letters(599, alphabet)))).toBe('insufficient')
    expect(level([profile], window(profile, letters(600, alphabet)))).toBe('stable')
    const young = numberProfile('x', numbers(200))
    expect(level([young], window(young, numbers(5_000, 3)))).toBe('insufficient')
  })

  it('is not evaluated without counts, or with counts of other bins', () => {
    expect(level([reference], { features: {} })).toBe('insufficient')
    expect(level([reference], { features: { x: [1, 2, 3] } })).toBe('unreadable')
    expect(level([reference], { features: { x: reference.counts.map(() => NaN) } })).toBe('unreadable')
    expect(judge([], { features: {} })).toMatchObject({
      level: 'insufficient',
      dataset: { level: 'insufficient', share: null },
    })
  })

  it('reports values never seen in training', () => {
    const profile = categoryProfile('c', letters(5_000, 'abc'))
    const few = judge([profile], window(profile, [...letters(997, 'abc'), 'z', 'z', 'z']))
    expect(few.reasons).toEqual([])
    const report = judge([profile], window(profile, [...letters(990, 'abc'), ...letters(10, 'xyz')]))
    expect(report.reasons.map(({ code }) => code)).toEqual(['new_category'])
    expect(report.features[0]!.newShare).toBe(0.01)
  })

  it('of the whole input weighs the features by their importance', () => {
    const profiles = ['a', 'b', 'c', 'd', 'e', 'f'].map((name) => numberProfile(name, numbers(3_000)))
    const shifted = (name: string): DriftWindow => ({
      features: Object.fromEntries(
        profiles.map((each) => [each.name, countBins(each, numbers(400, each.name === name ? 0.7 : 0))]),
      ),
    })
    expect(judge(profiles, shifted('a')).dataset).toMatchObject({ level: 'stable' })
    const importance = { a: 3, b: 1, c: 1, d: 1, e: 1, f: 1 }
    expect(judge(profiles, shifted('a'), null, importance).dataset).toEqual({ level: 'warn', share: 3 / 8 })
    const twice = judge(profiles, shifted('a'), shifted('a'), importance)
    expect(twice.dataset.level).toBe('alarm')
    expect(twice.reasons.map(({ code }) => code)).toContain('dataset_drift_alarm')
    expect(judge(profiles, shifted('b'), null, importance).dataset.level).toBe('stable')
  })

  it('of a feature without importance warns and never alarms', () => {
    const profiles = ['a', 'b'].map((name) => numberProfile(name, numbers(3_000)))
    const shifted: DriftWindow = {
      features: Object.fromEntries(
        profiles.map((each) => [each.name, countBins(each, numbers(400, each.name === 'a' ? 0.7 : 0))]),
      ),
    }
    const level = (importance?: Record<string, number>) =>
      judge(profiles, shifted, shifted, importance).features[0]!.level
    expect([level(), level({ a: 1, b: 1 }), level({ a: 0, b: 1 })]).toEqual(['alarm', 'alarm', 'warn'])
  })

  it('of the score and of the label is evaluated separately', () => {
    const score = numberProfile('score', numbers(3_000))
    const evidence = {
      reference: { rows: 3_000, features: [reference], score, label: score },
      current: {
        ...window(reference, numbers(400)),
        score: countBins(score, numbers(400, 1)),
        label: countBins(score, numbers(400)),
      },
      previous: null,
    }
    const report = judgeDrift(evidence)
    expect([report.features[0]!.level, report.score!.level, report.label!.level]).toEqual([
      'stable',
      'warn',
      'stable',
    ])
    expect(report.reasons.map(({ code }) => code)).toEqual(['score_drift_warn'])
  })
})

describe('counts', () => {
  it('of replicas and hours add up', () => {
    expect(
      mergeCounts([
        [1, 2],
        [3, 4],
        [0, 1],
      ]),
    ).toEqual([4, 7])
    expect(mergeCounts([[1, 2], [3]])).toBeNull()
    expect(mergeCounts([])).toBeNull()
  })
})
