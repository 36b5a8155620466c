/** Prints the demo: titles, lines, results, and one live line during work. In a pipe, prints only the last state of the live line. */
import { barOf, textWidth, type Terminal } from '../terminal.ts'

export interface Narrator {
  title(text: string): void
  act(number: number, title: string): void
  print(...lines: string[]): void
  done(text: string): void
  wrong(text: string): void
  /** Redraws `line()` until the work is done, then prints its last state. */
  during<T>(line: () => string, work: Promise<T>): Promise<T>
  bar(share: number, width?: number): string
  faint(text: string): string
  strong(text: string): string
}

const redrawMs = 100

export function createNarrator(terminal: Terminal): Narrator {
  const { paint, say } = terminal
  const fit = (line: string) =>
    textWidth(line) <= terminal.columns - 1 ? line : cut(line, terminal.columns - 2)
  return {
    title: (text) => say('', paint('bold', text)),
    act: (number, title) => say('', `${paint(['bold', 'cyan'], `${number}`)}  ${paint('bold', title)}`),
    print: (...lines) => say(...lines.map((line) => `   ${line}`)),
    done: (text) => say(`   ${paint('green', '✓')} ${text}`),
    wrong: (text) => say(`   ${paint('red', '✗')} ${text}`),
    async during(line, work) {
      let drawn = ''
      const draw = () => {
        const next = fit(`   ${line()}`)
        if (next !== drawn) terminal.progress((drawn = next))
      }
      const timer = setInterval(draw, redrawMs)
      try {
        draw()
        return await work
      } finally {
        clearInterval(timer)
        terminal.progress(undefined)
        say(`   ${line()}`)
      }
    },
    // A line beside the bar has up to 58 characters.
    bar: (share, width = terminal.columns < 90 ? 12 : 24) => paint('cyan', barOf(share, width)),
    faint: (text) => paint('dim', text),
    strong: (text) => paint('bold', text),
  }
}

/** Cuts a coloured line and resets its colours. */
function cut(line: string, width: number): string {
  let kept = ''
  let shown = 0
  for (let index = 0; index < line.length && shown < width; index++) {
    const end = line[index] === escape ? line.indexOf('m', index) : index
    kept += line.slice(index, end + 1)
    if (line[index] !== escape) shown += 1
    index = end
  }
  return kept.includes(escape) ? `${kept}…${escape}[0m` : `${kept}…`
}

const escape = '\u001b'

/** Formats a duration as `3.2 s` or `4 min 5 s`. */
export function lapseText(ms: number): string {
  if (ms < 1_000) return `${Math.round(ms)} ms`
  if (ms < 60_000) return `${(ms / 1_000).toFixed(1)} s`
  return `${Math.floor(ms / 60_000)} min ${Math.round((ms % 60_000) / 1_000)} s`
}

/** Formats a time as `Thu 1 Feb 2001 14:05` in UTC. */
export function timeText(ms: number): string {
  const at = new Date(ms)
  const day = at.toLocaleDateString('en-GB', {
    timeZone: 'UTC',
    weekday: 'short',
    day: 'numeric',
    month: 'short',
    year: 'numeric',
  })
  return `${day.replace(',', '')} ${at.toISOString().slice(11, 16)}`
}
