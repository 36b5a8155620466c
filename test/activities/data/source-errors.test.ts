/** Tests that an error about unreadable rows is reported once, truncated, and with its column. */
import { expect, it } from 'vitest'
import { withDuck } from '../../../activities/data/duckdb.ts'
import { asRefused, asUnreadable, isQueryRefused } from '../../../activities/data/source-errors.ts'
import { DomainError } from '../../../domain/errors.ts'

const thrownBy = (statement: string): Promise<unknown> =>
  withDuck((duck) => duck.run(statement)).catch((error: unknown) => error)

it.each([
  ['a column that is not there', 'select size from (select 1 as length)', 'size'],
  ['a text for a number', `select cast(size as double) from (select '3 cm' as size)`, '3 cm'],
])('%s', async (_what, statement, named) =>
  expect(asUnreadable('roses', await thrownBy(statement))).toMatchObject({
    code: 'source_unreadable',
    message: expect.stringMatching(new RegExp(`the rows of roses cannot be read: .*${named}`)) as unknown,
  }),
)

it('an unknown column is reported with the message of Postgres', () => {
  const error = Object.assign(new Error('column "size" does not exist'), { code: '42703' })
  expect(asUnreadable('roses', error)).toMatchObject({ code: 'source_unreadable' })
})

it('a ten-megabyte line is truncated in the error message', () => {
  const line = `Original Line: 7,${'x'.repeat(10_485_760)}`
  const error = new Error(`Invalid Input Error: CSV Error\n${line}\nMaximum line size exceeded`)
  const { message } = asUnreadable('roses', error) as Error
  expect(message.length).toBeLessThan(1_000)
  expect(message).toContain('Maximum line size exceeded')
})

it.each([
  ['what may go by', new Error('IO Error: the disk does not answer')],
  ['a connection that broke', Object.assign(new Error('terminated'), { code: '57P01' })],
  ['what is told already', new DomainError('snapshot_empty', 'no train rows')],
  ['no error', 'odd'],
])('an error of %s is rethrown unchanged', (_what, error) => expect(asUnreadable('roses', error)).toBe(error))

it.each([
  ['a syntax error', '42601', true],
  ['a missing privilege', '42501', true],
  ['a value out of range', '22003', true],
  ['a deadline', '57014', true],
  ['a server that stops', '57P01', false],
  ['a server without a free connection', '53300', false],
])('a query that ends with %s (%s) is refused for good: %s', (_what, code, expected) =>
  expect(isQueryRefused(Object.assign(new Error('of Postgres'), { code }))).toBe(expected),
)

it('a full disk is not reported as a file that cannot be read', () => {
  const error = new Error('IO Error: Could not write file: No space left on device')
  expect(asRefused('the input', error)).toBe(error)
  expect(asRefused('the input', new Error('odd'))).toMatchObject({ code: 'invalid_request' })
})
