/** Tests that the API accepts every reason that its OpenAPI document allows, and the messages about entries of lists. */
import fc from 'fast-check'
import { expect, it } from 'vitest'
import { z } from 'zod'
import { checkEntry, reasonText, writtenReason } from '../../../api/http/schemas.ts'

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

it('the message about an entry of a list begins with the path of its field, if it concerns a field', () => {
  const entry = z.strictObject({ value: z.number() })
  expect(checkEntry(entry, { value: 1 })).toEqual({ data: { value: 1 } })
  expect(checkEntry(entry, { value: '1' })).toMatchObject({ issue: expect.stringMatching(/^value: Invalid/) })
  expect(checkEntry(entry, 1)).toMatchObject({ issue: expect.stringMatching(/^Invalid/) })
  expect(checkEntry(entry, { value: '\0' })).toMatchObject({ issue: expect.stringContaining('NUL') })
})
