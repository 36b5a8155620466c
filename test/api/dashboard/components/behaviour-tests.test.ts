/** Tests the behaviour tests on the pages of releases and retrainings. */
import { expect, it } from 'vitest'
import { BehaviourTests } from '../../../../api/dashboard/components/behaviour-tests.tsx'
import type { BehaviourRow } from '../../../../domain/behaviour/behaviour-test.ts'

const passed = { verdict: 'pass', message: 'fine', rows: 9, failed: 0, examples: [] } as const
const tests: BehaviourRow[] = [
  { name: 'good', kind: 'exact', challenger: passed, champion: passed },
  {
    name: '<b>bad</b>',
    kind: 'direction',
    challenger: {
      verdict: 'fail',
      message: 'falls in 2 of 9 rows',
      rows: 9,
      failed: 2,
      examples: [
        {
          place: 17,
          row: { size: 5, colour: 'red', age: null },
          change: 'size 5 → 7',
          before: 'blooms (0.8)',
          after: 'blooms (0.6)',
        },
        { place: 18, change: 'size 6 → 8', before: 'blooms (0.8)', after: 'blooms (0.7)' },
      ],
    },
    champion: { ...passed, verdict: 'not_computed' },
  },
]

it("failed behaviour tests are listed first, with the champion's result and their worst rows, escaped", async () => {
  const html = String(await BehaviourTests({ tests }))
  expect(html).toMatch(/&lt;b&gt;bad.*fails.*not computed.*falls in 2 of 9 rows.*good.*passes/s)
  expect(html).toMatch(
    /17.*size 5 → 7.*blooms \(0\.8\).*blooms \(0\.6\).*size 5, colour &quot;red&quot;, age missing/s,
  )
  expect(html).toMatch(/18.*not stored: the rows are personal data/s)
  expect(html).not.toContain('<b>bad')
  expect(String(await BehaviourTests({ tests: [tests[0]!] }))).not.toContain('Worst rows')
  expect(String(await BehaviourTests({ tests: undefined }))).toBe('')
})
