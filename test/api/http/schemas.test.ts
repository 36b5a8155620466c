/** Tests that the API accepts every reason that its OpenAPI document allows. */
import fc from 'fast-check'
import { expect, it } from 'vitest'
import { z } from 'zod'
import { reasonText, writtenReason } from '../../../api/http/schemas.ts'

const pieces = ['a', 'é', ' ', '\t', '\n', '\r\n', '\r', '\u0007', '\u0085', '\u007F']

it.each([
  ['a reason', reasonText],
  ['a reason that is not blank', writtenReason],
] as const)('%s is accepted where the pattern of its schema allows it', (_name, schema) => {
  const { pattern = '' } = z.toJSONSchema(schema, { io: 'input' })
  const allowed = new RegExp(pattern)
  expect(pattern).not.toBe('')
  fc.assert(
    fc.property(fc.array(fc.constantFrom(...pieces), { maxLength: 8 }), (list) => {
      const text = list.join('')
      expect(schema.safeParse(text).success, JSON.stringify(text)).toBe(allowed.test(text))
    }),
    { numRuns: 2_000 },
  )
})
