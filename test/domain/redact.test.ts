/** Tests that secrets are removed from texts before they are stored. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { cutName } from '../../domain/errors.ts'
import { shown } from '../../domain/postgres-text.ts'
import { redacted, withoutExcerpt } from '../../domain/redact.ts'
import { parseProgressLine } from '../../domain/training/progress-line.ts'
import { mainThreadMs } from '../support/main-thread.ts'

const secret = '0123456789abcdef'.repeat(3)
describe('the redaction of a text', () => {
  it.each([
    [`my key is tnr_0123456789ab_${secret}, thanks`, 'my key is tnr_0123456789ab_[redacted], thanks'],
    ['postgres://tenure:hunter2@127.0.0.1:7432/tenure', 'postgres://tenure:[redacted]@127.0.0.1:7432/tenure'],
    ['postgres://u:p@ss:w@rd@host/db and more', 'postgres://u:[redacted]@host/db and more'],
    ['{"input":"https://ada:s3cret@x.example/"}', '{"input":"https://ada:[redacted]@x.example/"}'],
    [`Authorization: Bearer tnr_0123456789ab_${secret}`, 'Authorization: Bearer [redacted]'],
    ['authorization: basic YWRhOmh1bnRlcjI=', 'authorization: basic [redacted]'],
    ['https://ada:12345@x.example', 'https://ada:[redacted]@x.example'],
    ["postgres://u:pa'ss/word@host/db", 'postgres://u:[redacted]@host/db'],
    ['postgres://:pw@h1:5432,h2:5432/db', 'postgres://:[redacted]@h1:5432,h2:5432/db'],
    [
      'postgres://h:5432/db?user=u&password=hunter2&ssl=on',
      'postgres://h:5432/db?user=u&password=[redacted]&ssl=on',
    ],
    ['https://x.example/?next=ftp://u:pw@h/', 'https://x.example/?next=ftp://u:[redacted]@h/'],
    ['/v1/models/pg%3A%2F%2Fu%3Apw%40host%2Fdb', '/v1/models/pg%3A%2F%2F[redacted]%40host%2Fdb'],
    [`alter role app login password 'hunter2'`, `alter role app login password '[redacted]'`],
    ['-----BEGIN PRIVATE KEY-----\nMC4C\n-----END PRIVATE KEY-----', '[redacted private key]'],
  ])('%j the secret goes', (text, left) => {
    expect(redacted(text)).toBe(left)
    expect(redacted(left)).toBe(left)
  })

  it.each([
    'checked with the team at 10:30',
    'postgres://127.0.0.1:7432/tenure',
    'http://127.0.0.1:7400/v1/models?at=2026-03-01T12:00:00Z',
    'mail ada@example.org about rel_018f',
    'key tnr_0123456789ab was revoked',
    'a basic regression, with basic validation-of-everything',
    'http://host:8080/models?mail=ada@example.org',
    'the password of the database was changed',
  ])('%j all stays', (text) => expect(redacted(text)).toBe(text))

  it('keeps JSON valid wherever the secrets occur', () => {
    const piece = fc.constantFrom(
      '-----BEGIN PRIVATE KEY-----',
      '-----END PRIVATE KEY-----',
      'password ',
      "'",
      '"',
      '\\',
      '\n',
      ' ',
      '@',
      ':',
      '://u',
      '%3A%2F%2Fu%3Ap%40',
      'bearer abcdefgh12345678',
      '?token=',
      `tnr_0123456789ab_${secret}`,
      'plain',
    )
    const text = fc.array(piece, { maxLength: 8 }).map((pieces) => pieces.join(''))
    fc.assert(
      fc.property(fc.dictionary(text, text), (value) => {
        const once = redacted(JSON.stringify(value))
        expect(() => JSON.parse(once)).not.toThrow()
        expect(redacted(once)).toBe(once)
      }),
      { numRuns: 5_000 },
    )
  })

  const many = 400_000
  it.each([
    ['words with dots', 'a.'.repeat(many)],
    ['addresses without an end', 'a://b:'.repeat(many)],
    ['addresses behind an @', `://@${'://a:b'.repeat(many)}`],
    ['the beginnings of keys', '-----BEGIN PRIVATE KEY-----'.repeat(many / 20)],
    ['quotes', `password '`.repeat(many)],
    ['bearers', 'bearer '.repeat(many)],
    ['addresses in addresses', '%3A%2F%2Fa%3A'.repeat(many / 4)],
    ['questions', '?token=&'.repeat(many)],
  ])('%s take no longer for being many', (_, text) => {
    const from = mainThreadMs()
    redacted(text)
    // A hundredth of the time of a search that restarts at each character.
    expect(mainThreadMs() - from).toBeLessThan(10_000)
  })
})

it.each([
  '{"city": Ada@example.org}',
  `{"first": "${'x'.repeat(50)}", "mail": ada@example.org, "x": 1}`,
  'Ada',
])('what a parser says of %j shows nothing of it', (text) => {
  const said = (() => {
    try {
      return String(JSON.parse(text))
    } catch (error) {
      return (error as Error).message
    }
  })()
  expect(said).toMatch(/da/)
  expect(withoutExcerpt(said)).toMatch(
    /^Unexpected token '?.'?,? .*not valid JSON$|^Unexpected token .{0,10} in JSON at position \d+$/,
  )
  expect(withoutExcerpt(said)).not.toMatch(/da|first|city/)
})

it.each([
  ['a name', cutName],
  ['a value', shown],
  ['a line of a training program', (text: string) => (parseProgressLine(text) as { issue: string }).issue],
])('a password is redacted in %s before it is cut off', (_what, show) => {
  const text = show(`postgres://u:${'hunter2'.repeat(40)}@h/db`)
  expect(text).toContain('postgres://u:[redacted]@h/db')
})
