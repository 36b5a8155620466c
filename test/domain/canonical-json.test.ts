import { describe, expect, it } from 'vitest'
import { canonicalJson } from '../../domain/canonical-json.ts'

describe('canonical JSON', () => {
  it('has keys in order, at every depth, and omits absent values', () =>
    expect(canonicalJson({ b: [1, { d: true, c: null }], a: 'é"', x: undefined })).toBe(
      '{"a":"é\\"","b":[1,{"c":null,"d":true}]}',
    ))
  it('keeps the position of an absent list entry', () =>
    expect(canonicalJson([undefined, 1])).toBe('[null,1]'))
  it('writes numbers as JSON does', () => expect(canonicalJson([1e21, -0, 0.1])).toBe('[1e+21,0,0.1]'))
  it.each([NaN, Infinity, () => 1, 1n, Symbol('a')])('refuses %s, which JSON would hide', (value) =>
    expect(() => canonicalJson({ value })).toThrow('no canonical JSON'),
  )
})
