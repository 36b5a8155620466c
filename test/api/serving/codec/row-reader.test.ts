/** Tests refusals of rows: an unknown category, with its allowed values in a message of bounded length, and a missing feature. */
import type { FeatureFit } from '@tenure/predictors/features'
import { expect, it } from 'vitest'
import { compileReader } from '../../../../api/serving/codec/row-reader.ts'

const refusalOf = (values: string[]) => {
  const read = compileReader({ colour: { kind: 'category', values } }, [
    { name: 'colour', kind: 'category', vocabulary: values },
  ])
  try {
    read({ colour: 'secret' }, 3, new Float32Array(values.length + 1), 0)
  } catch (error) {
    return error as Error & { code: string; context: { feature: string; values: string[] } }
  }
  throw new Error('not refused')
}

it('an unknown category is refused with the allowed values, and without the value that was sent', () => {
  const { code, message, context } = refusalOf(['red', 'off "white"'])
  expect([code, message]).toEqual([
    'unknown_category',
    'instance 3: feature "colour" is not one of its 2 values: "red", "off \\"white\\""',
  ])
  expect(context).toEqual({ feature: 'colour', values: ['red', 'off "white"'] })
})

it('an unknown category is refused with the first 20 of many values', () => {
  const { message, context } = refusalOf(Array.from({ length: 5_000 }, (_, at) => `v${at}`))
  expect(message).toMatch(/is not one of its 5000 values: "v0", .*"v19", … and 4980 more$/)
  expect(context.values).toHaveLength(20)
})

it('an unknown category is refused in a message of bounded length when its values are long', () => {
  const { message, context } = refusalOf(Array.from({ length: 30 }, (_, at) => `${at}${'é'.repeat(900)}`))
  expect(message).toMatch(/… and 24 more$/)
  expect(context.values.map(({ length }) => length)).toEqual(Array(6).fill(61))
  expect(encodeURIComponent(message).length).toBeLessThan(4_000)
})

it('a text is taken up to its length, in any words', () => {
  const note = { kind: 'text', maxLength: 5 } as const
  const fits: FeatureFit[] = [{ name: 'note', kind: 'category', vocabulary: [], encoding: 'text' }]
  const read = compileReader({ note }, fits)
  const readNote = (text: string) => read({ note: text }, 0, new Float64Array(0), 0)
  expect(readNote('any 5')).toEqual({ note: 'any 5' })
  expect(() => readNote('any 56')).toThrow(
    'instance 0: feature "note" has 6 characters, at most 5 are accepted',
  )
  expect(() => readNote('a\0')).toThrow('contains NUL')
  expect(readNote('\u{1F339}')).toEqual({ note: '\u{1F339}' })
  expect(() => readNote('a\ud83c')).toThrow('has an unpaired surrogate, which is no character')
})

it.each([
  ['without it', '{"label": 1}'],
  ['with it in a prototype', '{"label": 1, "__proto__": {"constructor": 2}}'],
])('a feature named like an inherited property is missing in a row %s', (_where, row) => {
  const number = { kind: 'number' } as const
  const fits = ['label', 'constructor'].map((name) => ({ ...number, name, mean: 0, std: 1, fill: null }))
  const read = compileReader({ label: number, constructor: number }, fits)
  expect(() => read(JSON.parse(row), 2, new Float64Array(2), 0)).toThrow(
    expect.objectContaining({
      code: 'missing_feature',
      message: 'instance 2 has no feature "constructor"',
    }),
  )
})
