import { stripVTControlCharacters } from 'node:util'
import { describe, expect, it } from 'vitest'
import { createNarrator, lapseText, timeText } from '../../../cli/demo/narrator.ts'
import { countText } from '../../../api/charts/figures.ts'
import { barOf, openTerminal, tableOf } from '../../../cli/terminal.ts'

function terminal({ isTTY }: { isTTY: boolean }) {
  const written: string[] = []
  const out = { write: (text: string) => written.push(text), isTTY, columns: 40, hasColors: () => isTTY }
  return { written, terminal: openTerminal({ out, err: out }) }
}

describe('the narrator', () => {
  it('prints only the last state of a live line in a pipe', async () => {
    const { written, terminal: piped } = terminal({ isTTY: false })
    let state = 'half way'
    const work = new Promise<number>((resolve) => setTimeout(() => resolve((state = 'there').length), 30))
    expect(await createNarrator(piped).during(() => state, work)).toBe(5)
    expect(written).toEqual(['   there\n'])
  })

  it('draws the live line on a TTY, cut to its width', async () => {
    const { written, terminal: shown } = terminal({ isTTY: true })
    const narrator = createNarrator(shown)
    await narrator.during(() => `${narrator.bar(0.5)} ${'long '.repeat(20)}`, Promise.resolve())
    const drawn = written.find((text) => text.includes('…')) ?? ''
    expect(stripVTControlCharacters(drawn).length).toBeLessThanOrEqual(40)
  })

  it('prints the last state of the line when the work fails', async () => {
    const { written, terminal: piped } = terminal({ isTTY: false })
    const work = Promise.reject(new Error('no'))
    await expect(createNarrator(piped).during(() => 'was here', work)).rejects.toThrow('no')
    expect(written).toEqual(['   was here\n'])
  })

  it('prints no colours in a pipe', () => {
    const { written, terminal: piped } = terminal({ isTTY: false })
    const narrator = createNarrator(piped)
    narrator.act(1, 'One')
    narrator.done(narrator.strong(narrator.faint('done')))
    narrator.wrong('not')
    expect(written.join('')).toBe('\n1  One\n   ✓ done\n   ✗ not\n')
  })
})

describe('formats', () => {
  it.each([
    [12, '12 ms'],
    [3_240, '3.2 s'],
    [245_000, '4 min 5 s'],
  ])('%i ms is %s', (ms, text) => expect(lapseText(ms)).toBe(text))

  it('times are in UTC', () => {
    const ms = Date.UTC(2001, 1, 1, 14, 5)
    expect(timeText(ms)).toBe('Thu 1 Feb 2001 14:05')
    expect(countText(12_345.4)).toBe('12,345')
  })

  it('a bar is clamped to its width', () => {
    expect([barOf(0, 4), barOf(0.5, 4), barOf(7, 4), barOf(-1, 4)]).toEqual(['░░░░', '██░░', '████', '░░░░'])
  })

  it('a table has no borders', () => {
    expect(
      tableOf(
        ['a', 'bb'],
        [
          ['1', '2'],
          ['333', '4'],
        ],
      ),
    ).toBe('a    bb\n1    2\n333  4')
  })
})
