/** Writes the unified diff of two texts. Shows every changed line, however many there are: what is left out could be what matters. */
import util from 'node:util'

/** Node's comparison of lists, which its types for Node 20 lack: 1 is of the first list only, -1 of the second, 0 of both. */
const { diff } = util as unknown as {
  diff(first: readonly string[], second: readonly string[]): [1 | -1 | 0, string][]
}

const contextLines = 3
/** Its memory grows with the square of the differing lines. */
const maxComparedLines = 5_000

type Line = readonly [sign: '+' | '-' | ' ', text: string]

/** `undefined` stands for no file. Returns an empty text for equal ones. */
export function unifiedDiff(name: string, before: string | undefined, after: string | undefined): string {
  if (before === after) return ''
  const lines = compared(linesOf(before), linesOf(after))
  const head = [
    `--- ${before === undefined ? '/dev/null' : name}`,
    `+++ ${after === undefined ? '/dev/null' : name}`,
  ]
  return [...head, ...hunksOf(lines)].map((line) => `${line}\n`).join('')
}

/** A line feed at the end begins no other line. */
const linesOf = (text: string | undefined): string[] =>
  (text ?? '') === '' ? [] : text!.replace(/\n$/, '').split('\n')

function compared(before: readonly string[], after: readonly string[]): Line[] {
  if (before.length + after.length > maxComparedLines)
    return [...before.map((text) => ['-', text] as const), ...after.map((text) => ['+', text] as const)]
  return diff(before, after).map(([side, text]) => [side === 0 ? ' ' : side === 1 ? '-' : '+', text] as const)
}

function hunksOf(lines: readonly Line[]): string[] {
  const isNear = lines.map((_, at) =>
    lines.slice(Math.max(0, at - contextLines), at + contextLines + 1).some(([sign]) => sign !== ' '),
  )
  const shown: string[] = []
  let [was, is] = [1, 1]
  for (let at = 0; at < lines.length; at++) {
    if (isNear[at] && !isNear[at - 1]) {
      const end = isNear.indexOf(false, at)
      const hunk = lines.slice(at, end < 0 ? undefined : end)
      const count = (sign: string) => hunk.filter(([each]) => each !== sign).length
      shown.push(`@@ -${was},${count('+')} +${is},${count('-')} @@`)
    }
    const [sign, text] = lines[at]!
    if (isNear[at]) shown.push(`${sign}${text}`)
    if (sign !== '+') was++
    if (sign !== '-') is++
  }
  return shown
}
