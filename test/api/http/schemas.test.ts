/** Tests that the API accepts every reason that its OpenAPI document allows, and the messages about entries of lists. */
import fc from 'fast-check'
import { expect, it } from 'vitest'
import { z } from 'zod'
import { checkEntry, checkInput, reasonText, writtenReason } from '../../../api/http/schemas.ts'

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
  expect(checkEntry(entry, { value: '1' })).toMatchObject({ issue: 'value: is a text, not a number' })
  expect(checkEntry(entry, 1)).toMatchObject({ issue: 'is a number, not an object' })
  expect(checkEntry(entry, { value: '\0' })).toMatchObject({ issue: expect.stringContaining('NUL') })
})

const body = z.strictObject({
  subject: z.string().min(1).max(3).optional(),
  limit: z.coerce.number().int().min(1).max(9).optional(),
  on: z.boolean().optional(),
  role: z.enum(['viewer', 'admin']).optional(),
  ids: z.array(z.string()).min(1).max(2).optional(),
  at: z.object({ day: z.string() }).optional(),
  value: z.union([z.number(), z.string().max(3), z.boolean()]).optional(),
  range: z.union([z.array(z.number()).min(1), z.strictObject({ low: z.number() })]).optional(),
})

it.each<[unknown, string]>([
  [[], 'the body: is a list, not an object'],
  [null, 'the body: is null, not an object'],
  [undefined, 'the body: is missing'],
  [{ subject: '' }, 'subject: is empty'],
  [{ subject: 'abcd' }, 'subject: has more than 3 characters'],
  [{ limit: 'ten' }, 'limit: is not a number'],
  [{ limit: '1.5' }, 'limit: is not a whole number'],
  [{ limit: '0' }, 'limit: is less than 1'],
  [{ limit: '10' }, 'limit: is more than 9'],
  [{ on: 'yes' }, 'on: is a text, not true or false'],
  [{ role: 'owner' }, 'role: is not one of "viewer", "admin"'],
  [{ ids: [] }, 'ids: is empty'],
  [{ ids: ['a', 'b', 'c'] }, 'ids: has more than 2 entries'],
  [{ ids: ['a', 1] }, 'ids.1: is a number, not a text'],
  [{ at: {} }, 'at.day: is missing'],
  [{ value: [] }, 'value: is a list, not a number, a text or true or false'],
  [{ value: null }, 'value: is null, not a number, a text or true or false'],
  [{ value: Infinity }, 'value: is not a number, a text or true or false'],
  [{ value: 'abcd' }, 'value: has more than 3 characters'],
  [{ range: 5 }, 'range: is a number, not a list or an object'],
  [{ range: [null] }, 'range: 0: is null, not a number'],
  [{ range: { low: 'a' } }, 'range: low: is a text, not a number'],
  [{ sub: 1, ject: 2 }, 'the body: has the unknown fields "sub", "ject"'],
])('says in plain English what is wrong with %j: %s', (sent, message) => {
  expect(() => checkInput(body, sent, 'the body')).toThrow(message)
})
