/** Tests what is counted of texts, and how often texts like those of the training count as drifted. */
import { seededRandom, standardNormal } from '@tenure/sequential'
import { describe, expect, it } from 'vitest'
import { columnOf } from '../../../domain/model/columns.ts'
import { partProfiles, partReader } from '../../../domain/model/feature-parts.ts'
import { countBins, type ReferenceProfile } from '../../../domain/model/reference-profile.ts'
import { judgeDrift } from '../../../domain/monitoring/drift.ts'
import type { DriftWindow } from '../../../domain/monitoring/drift-window.ts'
import { worldsOf } from '../../support/evaluation/worlds.ts'

const referenceOf = (texts: readonly (string | null)[]): ReferenceProfile => {
  const { profiles, tokens } = partProfiles('note', 'text', columnOf(texts))
  return { rows: texts.length, features: profiles, tokens: { note: tokens! } }
}
const windowOf = (reference: ReferenceProfile, texts: readonly (string | null)[]): DriftWindow => ({
  features: Object.fromEntries(
    reference.features.map((profile) => [
      profile.name,
      countBins(profile, texts.map(partReader(reference, profile.name))),
    ]),
  ),
})

describe('of a text', () => {
  const scriptOf = partReader({}, 'note.script')
  it.each([
    ['Rien ne va plus', 'Latin'],
    ['Größe: 5 µm', 'Latin'],
    ['Всё хорошо', 'Cyrillic'],
    ['不知道', 'Han or Kana'],
    ['東京タワーです', 'Han or Kana'],
    ['안녕하세요', 'Hangul'],
    ['مرحبا', 'Arabic'],
    ['half русский', 'mixed or other'],
    ['12:30 ☃', 'none'],
    [null, null],
  ])('%j, the script is %s', (text, script) => expect(scriptOf(text)).toBe(script))

  it('the tokens that two training texts have are known, in either case of letters', () => {
    const reference = referenceOf(['Good film', 'good plot', 'a GOOD day', null])
    expect(reference.tokens).toEqual({ note: ['good'] })
    const unknown = partReader(reference, 'note.unknown')
    expect(['good', 'Good film', 'bad', '!', null].map(unknown)).toEqual([0, 0.5, 1, null, null])
  })

  it('the training rows count as fresh ones do: their own words make none known', () => {
    const { features } = referenceOf(Array.from({ length: 40 }, (_, row) => `word${row >> 1}`))
    // Each word stands in two texts, and without its own text in one.
    expect(features.find(({ name }) => name === 'note.unknown')).toMatchObject({ counts: [0, 40, 0, 0] })
  })

  it('a missing one is missing in each part', () =>
    expect(referenceOf(['a b', null]).features.map(({ counts }) => counts.at(-1))).toEqual([1, 1, 1]))

  it('only the first characters are read, for the time of a request', () => {
    const reference = referenceOf(['a', 'a'])
    const long = `${'a '.repeat(2_000)}${'слово '.repeat(2_000)}`
    const read = (part: string) => partReader(reference, `note.${part}`)(long)
    expect([read('script'), read('unknown'), read('length')]).toEqual(['Latin', 0, 16_000])
  })
})

describe('texts', () => {
  const random = seededRandom(7)
  /** Words by Zipf's law, so that every window has words that no training text has. */
  const textOf = (words = 50_000, prefix = 'w') =>
    Array.from(
      { length: 3 + Math.floor(20 * random()) },
      () => `${prefix}${Math.floor(words ** random())}`,
    ).join(' ')
  const texts = (count: number, ...form: Parameters<typeof textOf>) =>
    Array.from({ length: count }, () => textOf(...form))
  const reference = referenceOf(texts(4_000))

  it('like those of the training drift in at most 2 % of the windows at 1 % certainty, and never alarm', () => {
    const worlds = worldsOf(400)
    const found = Array.from({ length: worlds }, () => {
      const report = judgeDrift({
        reference,
        current: windowOf(reference, texts(400)),
        previous: windowOf(reference, texts(400)),
      })
      return { level: report.level, isCertain: report.features.some(({ adjustedP }) => adjustedP! < 0.01) }
    })
    expect(found.filter(({ isCertain }) => isCertain).length).toBeLessThanOrEqual(Math.ceil(0.02 * worlds))
    expect(found.filter(({ level }) => level === 'alarm')).toEqual([])
  })

  it.each([
    ['of other words', texts(400, 50_000, 'x'), 'note.unknown'],
    ['in another script', texts(400, 50_000, 'щ'), 'note.script'],
    ['cut to 20 characters', texts(400).map((text) => text.slice(0, 20)), 'note.length'],
  ])('%s alarm in the second window', (_how, drifted, name) => {
    const current = windowOf(reference, drifted)
    const { features, dataset } = judgeDrift({ reference, current, previous: current })
    expect(features.find((row) => row.name === name)!.level).toBe('alarm')
    // One feature of one.
    expect(dataset).toEqual({ level: 'alarm', share: 1 })
  })

  it('are excluded, weighed and limited by the name of their feature', () => {
    const current = windowOf(reference, texts(400, 50_000, 'x'))
    const judged = { reference, current, previous: current }
    const policy = { certainty: 0.01, warn: 0.1, alarm: 0.2, minRows: 300, rowsPerBin: 30 }
    const rest = { newCategoryShare: 0.005, datasetShare: 0.2, sudden: { psi: 0.5, counts: 20 } }
    expect(judgeDrift(judged, { ...policy, ...rest, exclude: ['note'] }).features).toEqual([])
    expect(
      judgeDrift(judged, { ...policy, ...rest, features: { note: { warn: 99, alarm: 99 } } }).level,
    ).toBe('stable')
    expect(judgeDrift({ ...judged, importance: { note: 0 } }).level).toBe('warn')
  })
})

describe('vectors', () => {
  const random = seededRandom(3)
  const vectors = (count: number, shift = 0) =>
    Array.from({ length: count }, () =>
      JSON.stringify(Array.from({ length: 16 }, (_, at) => standardNormal(random) + (at < 4 ? shift : 0))),
    )
  const { profiles } = partProfiles('embedding', 'vector', columnOf(vectors(1_000)))
  const reference: ReferenceProfile = { rows: 1_000, features: profiles }

  it('are counted by their norm and eight projections on directions of length 1, the same ones everywhere', () => {
    expect(profiles.map(({ name }) => name)).toEqual([
      'embedding.norm',
      ...[1, 2, 3, 4, 5, 6, 7, 8].map((nth) => `embedding.projection${nth}`),
    ])
    const read = (part: string, text: string | null) => partReader({}, `embedding.${part}`)(text)
    expect(read('norm', '[3,4]')).toBe(5)
    expect(read('norm', null)).toBeNull()
    const [along, across] = ['[1,0]', '[0,1]'].map((text) => Number(read('projection1', text)))
    expect(along! ** 2 + across! ** 2).toBeCloseTo(1, 4)
    expect(read('projection1', '[2,-3]')).toBeCloseTo(2 * along! - 3 * across!, 4)
    expect([along, across].map((each) => each!.toFixed(6))).toEqual(['0.015281', '-0.999886'])
  })

  it('like those of the training drift in at most 2 % of the windows at 1 % certainty, and never alarm', () => {
    const worlds = worldsOf(200)
    const found = Array.from({ length: worlds }, () => {
      const [current, previous] = [windowOf(reference, vectors(400)), windowOf(reference, vectors(400))]
      const report = judgeDrift({ reference, current, previous })
      return { level: report.level, isCertain: report.features.some(({ adjustedP }) => adjustedP! < 0.01) }
    })
    expect(found.filter(({ isCertain }) => isCertain).length).toBeLessThanOrEqual(Math.ceil(0.02 * worlds))
    expect(found.filter(({ level }) => level === 'alarm')).toEqual([])
  })

  it('of which a quarter of the numbers moves by two standard deviations alarm', () => {
    const current = windowOf(reference, vectors(400, 2))
    expect(judgeDrift({ reference, current, previous: current }).level).toBe('alarm')
  })
})

/** Rows of one kind, drawn anew for training and for each window. */
const kinds: Record<string, ['text' | 'vector', row: (random: () => number) => string]> = {
  'one text': ['text', () => 'Thank you for your order'],
  'empty texts': ['text', () => ''],
  'empty texts and others': ['text', (random) => (random() < 0.5 ? '' : `word${Math.floor(9 * random())}`)],
  'texts of one language without spaces': [
    'text',
    (random) =>
      Array.from({ length: 9 }, () => String.fromCodePoint(0x4e00 + Math.floor(400 * random()))).join(''),
  ],
  'a hundred texts': ['text', (random) => `Answer number ${Math.floor(100 * random())}`],
  'texts that are all different': ['text', (random) => `order ${random().toString(36)}`],
  'one vector': ['vector', () => '[0.1,0.2,-0.7]'],
  'vectors of zeros': ['vector', () => '[0,0,0]'],
  'vectors of one number': ['vector', (random) => `[${standardNormal(random)}]`],
  'vectors of length 1': ['vector', (random) => JSON.stringify(unitVector(random))],
}
function unitVector(random: () => number): number[] {
  const numbers = Array.from({ length: 24 }, () => standardNormal(random))
  const norm = Math.hypot(...numbers)
  return numbers.map((each) => each / norm)
}

describe.each(Object.entries(kinds))('%s', (_what, [kind, row]) => {
  const random = seededRandom(11)
  const rows = (count: number) => Array.from({ length: count }, () => row(random))
  const { profiles, tokens } = partProfiles('note', kind, columnOf(rows(1_000)))
  const reference: ReferenceProfile = {
    rows: 1_000,
    features: profiles,
    ...(tokens && { tokens: { note: tokens } }),
  }

  it('drift in at most 2 % of the windows at 1 % certainty, and never alarm', () => {
    const worlds = worldsOf(50)
    const found = Array.from({ length: worlds }, () => {
      const [current, previous] = [windowOf(reference, rows(400)), windowOf(reference, rows(400))]
      const report = judgeDrift({ reference, current, previous })
      return { level: report.level, isCertain: report.features.some(({ adjustedP }) => adjustedP! < 0.01) }
    })
    expect(found.filter(({ isCertain }) => isCertain).length).toBeLessThanOrEqual(Math.ceil(0.02 * worlds))
    expect(found.filter(({ level }) => level === 'alarm')).toEqual([])
  })

  if (kind === 'vector')
    it('drift as little where they are served with 32 bits, or six digits', () => {
      for (const cut of [Math.fround, (value: number) => Number(value.toPrecision(6))]) {
        const served = () => rows(400).map((text) => JSON.stringify((JSON.parse(text) as number[]).map(cut)))
        const [current, previous] = [windowOf(reference, served()), windowOf(reference, served())]
        expect(judgeDrift({ reference, current, previous }).level).toBe('stable')
      }
    })
})

it('of an image, the header is counted, and another text as a missing one', () => {
  const gif = 'R0lGODlhAQABAIAAAMLCwgAAACH5BAAAAAAALAAAAAABAAEAAAICRAEAOw=='
  const { profiles } = partProfiles('scan', 'image', columnOf([gif, gif, null]))
  const read = (value: string | null) => profiles.map(({ name }) => partReader({}, name)(value))
  expect(profiles.map(({ name }) => name)).toEqual(['scan.format', 'scan.bytes', 'scan.width', 'scan.height'])
  expect(read(gif)).toEqual(['gif', 43, 1, 1])
  expect(read('no image')).toEqual([null, null, null, null])
  expect(profiles.map(({ counts }) => counts.at(-1))).toEqual([1, 1, 1, 1])
})
