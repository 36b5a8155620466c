/** Tests that a diff shows all that an approver decides about: applied to the text before, it gives the text after. */
import { expect, it } from 'vitest'
import { unifiedDiff } from '../../../../api/services/registry/file-diff.ts'

/** Applies the hunks by their numbers, and checks each line that they name. */
function patched(before: readonly string[], diff: string): string[] {
  const after: string[] = []
  let at = 0
  for (const line of diff.split('\n').slice(2, -1)) {
    const [, was, is] = /^@@ -(\d+),\d+ \+(\d+),\d+ @@$/.exec(line) ?? []
    if (was !== undefined) {
      while (at < Number(was) - 1) after.push(before[at++]!)
      expect(after).toHaveLength(Number(is) - 1)
      continue
    }
    if (!line.startsWith('+')) expect(before[at++]).toBe(line.slice(1))
    if (!line.startsWith('-')) after.push(line.slice(1))
  }
  return [...after, ...before.slice(at)]
}

let state = 7
const random = (below: number): number => (state = (state * 48_271) % 2_147_483_647) % below

it.each([1, 10, 60, 6_000])('the diff of two texts of up to %d lines leads from one to the other', (most) => {
  for (let round = 0; round < (most > 1_000 ? 2 : 200); round++) {
    const before = Array.from({ length: random(most) + 1 }, () => `${random(9)}`)
    const after = before.flatMap(
      (line) => [[line], [line], [line], [], [`new ${random(9)}`, line]][random(5)]!,
    )
    if (after.join() === before.join() || after.length === 0) continue
    const text = (lines: readonly string[]) => `${lines.join('\n')}\n`
    expect(patched(before, unifiedDiff('churn.py', text(before), text(after)))).toEqual(after)
  }
})

it('a new file, one that is gone, and one that is equal', () => {
  expect(unifiedDiff('a.py', undefined, 'x = 1\n')).toBe('--- /dev/null\n+++ a.py\n@@ -1,0 +1,1 @@\n+x = 1\n')
  expect(unifiedDiff('a.py', 'x = 1\n', undefined)).toBe('--- a.py\n+++ /dev/null\n@@ -1,1 +1,0 @@\n-x = 1\n')
  expect(unifiedDiff('a.py', 'x = 1\n', 'x = 1\n')).toBe('')
})
