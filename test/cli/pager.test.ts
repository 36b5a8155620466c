/** Tests that a long text reaches the pager of the user, and that a missing or refused pager is said. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, it, vi } from 'vitest'
import { showInPager } from '../../cli/pager.ts'

const folder = mkdtempSync(join(tmpdir(), 'tenure-pager-'))
afterAll(() => rmSync(folder, { recursive: true }))

it('gives the text to the command of PAGER, with the options of less that end it on a short text', () => {
  const shown = join(folder, 'shown')
  vi.stubEnv('LESS', undefined)
  vi.stubEnv('PAGER', `(cat; echo "$LESS") > ${shown}`)
  expect(showInPager('one\ntwo\n')).toBe(true)
  expect(readFileSync(shown, 'utf8')).toBe('one\ntwo\nFRX\n')
})

const long = 'a line\n'.repeat(100_000)

it('does not show a long text again after the user has left the pager', () => {
  vi.stubEnv('PAGER', 'true')
  expect(showInPager(long)).toBe(true)
})

it.each(['', 'no-such-pager'])('leaves the text to the caller with PAGER=%s', (pager) => {
  vi.stubEnv('PAGER', pager)
  expect(showInPager('one\n')).toBe(false)
  expect(showInPager(long)).toBe(false)
})
