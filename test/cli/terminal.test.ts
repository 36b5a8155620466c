/** Tests the tables of the command line. */
import { expect, it } from 'vitest'
import { tableOf } from '../../cli/terminal.ts'
import { mainThreadMs } from '../support/main-thread.ts'

it('a table aligns its columns, also with cells of several lines, colours and nothing', () => {
  const rows = [
    ['iris', 3, undefined],
    ['flight-delay', '\u001b[32mpass\u001b[39m', 'first\nsecond'],
  ]
  expect(tableOf(['model', 'n', 'why'], rows)).toBe(
    [
      'model         n     why',
      'iris          3     –',
      'flight-delay  \u001b[32mpass\u001b[39m  first',
      '                    second',
    ].join('\n'),
  )
  expect(tableOf(['model', 'n'], [])).toBe('model  n')
  expect(tableOf([], [])).toBe('')
})

it('a table of 45,000 rows takes no longer than its rows', () => {
  const rows = Array.from({ length: 45_000 }, (_, each) => [
    '2026-11-21 05:48:00',
    'olga',
    'pause',
    `no. ${each}`,
  ])
  const from = mainThreadMs()
  expect(tableOf(['at', 'actor', 'command', 'message'], rows).split('\n')).toHaveLength(45_001)
  expect(mainThreadMs() - from).toBeLessThan(10_000)
})
