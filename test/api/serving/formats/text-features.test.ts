/** Tests that rows with free text are read from JSON up to its length, and counted by its parts. */
import type { FeatureFit } from '@tenure/predictors/features'
import { expect, it } from 'vitest'
import { columnsOf } from '../../../../api/serving/codec/feature-columns.ts'
import { createInputBuffer } from '../../../../api/serving/codec/input-buffer.ts'
import { compileJsonRow, fillInstances } from '../../../../api/serving/codec/instances.ts'
import { compileChecks } from '../../../../api/serving/codec/row-reader.ts'
import { createFeatureHistograms } from '../../../../api/serving/counters/feature-histograms.ts'
import { columnOf } from '../../../../domain/model/columns.ts'
import { partProfiles } from '../../../../domain/model/feature-parts.ts'
import type { Features } from '../../../../domain/model/features.ts'
import type { Manifest } from '../../../../domain/model/manifest.ts'
import { categoryProfile, countBins, numberProfile } from '../../../../domain/model/reference-profile.ts'

const features: Features = {
  colour: { kind: 'category' },
  note: { kind: 'text', maxLength: 12, missing: 'fill' },
  size: { kind: 'number' },
}
const fits: FeatureFit[] = [
  { name: 'colour', kind: 'category', vocabulary: ['red'] },
  { name: 'note', kind: 'category', vocabulary: [], encoding: 'text' },
  { name: 'size', kind: 'number', mean: 0, std: 1, fill: null },
]
const columns = columnsOf(features, fits)
const jsonRow = compileJsonRow(columns, compileChecks(features, fits))

function read(instances: readonly object[]) {
  const input = createInputBuffer()
  const body = Buffer.from(JSON.stringify({ instances }))
  const size = { maxRows: 100, width: 3 }
  const form = { takesLists: false, none: 'none', rows: 'instances' }
  fillInstances({ columns, jsonRow, ignores: () => false }, { body, size, form }, input)
  return input
}
const row = { colour: 'red', size: 1 }

it.each(['twelve units', 'zwölf Zeichn', '不知道不知道不知道不知道', '☃'.repeat(12)])(
  'a text of 12 characters is taken: %s',
  (note) => expect(read([{ ...row, note }]).texts.toString()).toContain(note),
)

it.each(['thirteen unit', 'dreizehn Zeiö', '𝔘𝔫𝔦𝔱𝔢𝔫𝔰', 'quoted "word"'])(
  'a text of more than 12 characters is refused, also where its bytes are read as they are: %s',
  (note) =>
    expect(() => read([{ ...row, note }])).toThrow(
      expect.objectContaining({
        code: 'wrong_type',
        message: `instance 0: feature "note" has ${note.length} characters, at most 12 are accepted`,
      }),
    ),
)

it('a replica counts the parts of a text beside the other features', () => {
  const trained = ['good film', 'good plot', 'bad plot', null]
  const { profiles, tokens } = partProfiles('note', 'text', columnOf(trained))
  const profile = {
    rows: 4,
    features: [
      categoryProfile('colour', ['red', 'red', 'blue', null]),
      ...profiles,
      numberProfile('size', [1, 2]),
    ],
    tokens: { note: tokens! },
    score: numberProfile('score', [0, 1]),
  }
  const manifest = { profile, features, output: { kind: 'number' } } as unknown as Manifest
  const histograms = createFeatureHistograms()
  const input = read([
    { ...row, note: 'good plot' },
    { ...row, note: 'хорошо' },
    { ...row, note: null },
  ])
  histograms.count({ model: 'm', version: 'v', manifest, columns }, 0, input, new Float32Array(3))
  const counts = Object.fromEntries(histograms.pending().map((each) => [each.name, each.counts]))
  const expected = {
    colour: ['red', 'red', 'red'],
    'note.length': [9, 6, null],
    'note.script': ['Latin', 'Cyrillic', null],
    'note.unknown': [0, 1, null],
    size: [1, 1, 1],
  }
  for (const each of profile.features)
    expect(counts[each.name], each.name).toEqual(
      countBins(each, expected[each.name as keyof typeof expected]),
    )
})
