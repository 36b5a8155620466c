/** Tests that a batch refuses the texts, vectors and images that a request refuses, and no others. */
import { expect, it } from 'vitest'
import { withDuck } from '../../../activities/data/duckdb.ts'
import { batchLayoutOf } from '../../../domain/model/batch-spec.ts'
import type { Feature } from '../../../domain/model/features.ts'
import { textLiteral } from '../../../domain/sql-text.ts'
import { textIssue } from '../../../domain/values/media.ts'

const gif = 'R0lGODlhAQABAIAAAMLCwgAAACH5BAAAAAAALAAAAAABAAEAAAICRAEAOw=='
const texts = [
  '',
  'a',
  'abcd',
  'abcde',
  '☃☃☃☃',
  '☃☃☃☃☃',
  '𝔘𝔫',
  '𝔘𝔫𝔦',
  '[1,2]',
  '[1, 2.5]',
  '[-1e3,0]',
  '[1,2,3]',
  '[1]',
]
texts.push(
  '[1,1e39]',
  '[1,1e999]',
  '[1,-3.4e38]',
  '[1,nan]',
  '[1,inf]',
  '[1,null]',
  '1,2',
  '[1,"2"]',
  gif,
  gif.slice(4),
  gif.slice(0, -1),
  `${gif}AAAA`,
  'R0lGOD-_',
)

it.each<Feature>([
  { kind: 'text', maxLength: 4 },
  { kind: 'vector', length: 2 },
  { kind: 'image', maxBytes: 43 },
])('of $kind', async (feature) => {
  const fits = [{ name: 'note', kind: 'category' as const, vocabulary: [], encoding: 'text' as const }]
  const { refused = '' } = batchLayoutOf({ note: feature }, fits).texts[0]!
  const asked = texts.map(
    (text) => `select ${refused.replaceAll('$text', () => textLiteral(text))} as refused`,
  )
  const rows = await withDuck((duck) => duck.rows<{ refused: boolean }>(asked.join(' union all by name ')))
  const found = rows.map((row, at) => [texts[at], row.refused])
  expect(found).toEqual(texts.map((text) => [text, textIssue(feature, text) !== undefined]))
})
