/** Secrets are taken out of texts before they are kept. */
import { describe, expect, it } from 'vitest'
import { redacted } from '../../domain/redact.ts'

const secret = '0123456789abcdef'.repeat(3)
describe('of a text', () => {
  it.each([
    [`my key is tnr_0123456789ab_${secret}, thanks`, 'my key is tnr_0123456789ab_[redacted], thanks'],
    ['postgres://tenure:hunter2@127.0.0.1:7432/tenure', 'postgres://tenure:[redacted]@127.0.0.1:7432/tenure'],
    ['postgres://u:p@ss:w@rd@host/db and more', 'postgres://u:[redacted]@host/db and more'],
    ['{"input":"https://ada:s3cret@x.example/"}', '{"input":"https://ada:[redacted]@x.example/"}'],
    [`Authorization: Bearer tnr_0123456789ab_${secret}`, 'Authorization: Bearer [redacted]'],
    ['authorization: basic YWRhOmh1bnRlcjI=', 'authorization: basic [redacted]'],
    ['-----BEGIN PRIVATE KEY-----\nMC4C\n-----END PRIVATE KEY-----', '[redacted private key]'],
  ])('%j the secret goes', (text, left) => expect(redacted(text)).toBe(left))

  it.each([
    'checked with the desk at 10:30',
    'postgres://127.0.0.1:7432/tenure',
    'http://127.0.0.1:7400/v1/models?at=2026-03-01T12:00:00Z',
    'mail ada@example.org about rel_018f',
    'key tnr_0123456789ab was revoked',
  ])('%j all stays', (text) => expect(redacted(text)).toBe(text))
})
