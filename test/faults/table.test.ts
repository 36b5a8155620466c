/** Tests that the table of faults names existing tests, because a row without a test would look like a kept promise. */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { checkout } from '../../temporal.config.ts'
import { faults } from './table.ts'

it('the table of faults has every fault once, in order, with its target', () => {
  expect(faults.map(({ number }) => number)).toEqual(faults.map((_, i) => `F${i + 1}`))
  expect(faults.length).toBeGreaterThanOrEqual(41)
  for (const { number, fault, asked } of faults)
    expect([number, fault !== '', asked !== '']).toEqual([number, true, true])
})

it('the table of faults names existing test files and words of their titles', () => {
  for (const { number, shownBy = [] } of faults)
    for (const { file, tests } of shownBy) {
      expect([number, file, existsSync(join(checkout, file))]).toEqual([number, file, true])
      if (tests === undefined) continue
      const text = readFileSync(join(checkout, file), 'utf8')
      for (const word of tests.split('|'))
        expect([number, file, word, text.includes(word)]).toEqual([number, file, word, true])
    }
})

it('the table of faults reports a result only for faults with tests', () => {
  for (const { number, shownBy = [], reached, cannot } of faults)
    if (shownBy.length === 0) expect([number, reached]).toEqual([number, undefined])
    else expect([number, cannot]).toEqual([number, undefined])
})
