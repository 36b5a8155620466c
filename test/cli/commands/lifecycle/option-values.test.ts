/** Tests which times options read, and which values `--set` read. */
import { describe, expect, it } from 'vitest'
import { commands } from '../../../../cli/commands/all-commands.ts'
import { asOfOption, parseHyperparameter } from '../../../../cli/commands/lifecycle/training-options.ts'
import { exitCodes } from '../../../../cli/exit-codes.ts'
import type { CommandSpec } from '../../../../cli/program.ts'
import { runCommand } from '../../../support/command-line.ts'

/** Every option that takes a time, with the words of its command. */
const timed = commands
  .flatMap((each) =>
    'commands' in each
      ? each.commands.map((spec) => ({ words: [each.name, ...spec.name.split(' ')], spec }))
      : [{ words: each.name.split(' '), spec: each }],
  )
  .flatMap(({ words, spec: { options = [] } }) =>
    options
      .flatMap(([flags]) => (/<time/.test(flags) ? [flags.split(/[ ,]/)[0]!] : []))
      .map((flag) => [...words.map((word) => (/^[<[]/.test(word) ? 'x' : word)), flag]),
  )

it('the options that take a time are known', () =>
  expect(timed.map((words) => words.at(-1))).toEqual(
    expect.arrayContaining(['--as-of', '--at', '--since', '--until', '--from', '--expires']),
  ))

describe.each(timed)('%s', (...words) => {
  it.each(['5', '32', 'March 7', '12:00', '2001-02-05 25:00', '2001-02-31'])(
    'refuses %s, which names no moment, as a wrong argument and before it asks the API',
    async (text) => {
      const { code, err } = await runCommand(commands, [...words, text, '--url', 'http://127.0.0.1:9'])
      expect([code, err]).toEqual([exitCodes.usage, expect.stringMatching(/2026-03-01/)])
      expect(err).toContain(words.at(-1))
    },
  )
})

it.each([
  ['2001-02-05', '2001-02-05T00:00:00.000Z'],
  ['2001-02-05T12:00:00+01:00', '2001-02-05T11:00:00.000Z'],
])('a time option reads %s as %s', async (text, time) => {
  const seen: unknown[] = []
  const spec: CommandSpec = {
    name: 'train',
    summary: 'Train',
    options: [asOfOption],
    examples: [],
    run: async (_, { options }) => void seen.push(options['asOf']),
  }
  await runCommand([spec], ['train', '--as-of', text])
  expect(seen).toEqual([time])
})

describe('--set', () => {
  it.each([
    ['32', 32],
    ['-0.5', -0.5],
    ['0.10', 0.1],
    ['1e-3', 0.001],
    ['true', true],
    ['"32"', '32'],
    ['12345678901234567890', '12345678901234567890'],
    ['01234', '01234'],
    ['a', 'a'],
  ])('reads %s', (text, value) => expect(parseHyperparameter(text)).toBe(value))
})
