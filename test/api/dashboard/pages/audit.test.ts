/** Tests the cells of the audit page. */
import { expect, it } from 'vitest'
import { Detail } from '../../../../api/dashboard/pages/operations/audit-cells.tsx'

const summary = (reason: string) =>
  /<summary>(.*)<\/summary>/.exec(String(Detail({ detail: { reason } })))?.[1]

it('the reason of an entry is shown without its evidence, and a long one ends with an ellipsis', () => {
  const slow = '7 of 7 shadow requests slower than the p95 (100 %), control 0 %: logE 13.04 ≥ 5.298'
  expect(summary(slow)).toBe('7 of 7 shadow requests slower than the p95 (100 %), control 0 %')
  expect(summary('a'.repeat(100))).toBe(`${'a'.repeat(79)}…`)
})
