/** Tests the cells of the audit page. */
import { expect, it } from 'vitest'
import { Detail, TargetLink } from '../../../../api/dashboard/pages/operations/audit.tsx'

const summary = (reason: string) =>
  /<summary>(.*)<\/summary>/.exec(String(Detail({ detail: { reason } })))?.[1]

it('the reason of an entry is shown without its evidence, and a long one ends with an ellipsis', () => {
  const slow = '7 of 7 shadow requests slower than the p95 (100 %), control 0 %: logE 13.04 ≥ 5.298'
  expect(summary(slow)).toBe('7 of 7 shadow requests slower than the p95 (100 %), control 0 %')
  expect(summary('a'.repeat(100))).toBe(`${'a'.repeat(79)}…`)
})

it('the id of a release, a retraining or a key is named beside it', () => {
  const told = (action: string, subject: string, version?: string) =>
    String(TargetLink({ action, subject, version, detail: { name: 'ada' } }))
  expect(told('release.opened', 'rel_1', 'iris_v1.2.0')).toContain(
    '<a href="/releases/rel_1">Release of iris_v1.2.0</a>',
  )
  expect(told('retraining.started', 'retrain/iris/1')).toContain(
    '<a href="/retrainings/retrain%2Firis%2F1">Retraining of iris</a>',
  )
  expect(told('key.created', 'ea0bdc395b90')).toContain('Key of ada')
  expect(told('champion.promoted', 'iris_v1.2.0')).toBe('')
})
