/** Tests when a drill passes. */
import { expect, it } from 'vitest'
import { judgeDrill, type DrillFacts } from '../../domain/drill.ts'

const silent: DrillFacts = {
  kind: 'silent',
  outcome: 'rolled_back',
  reason: 'no data at the deadline: the canary served 0 of the last 40 requests, the control all of them',
  isWithoutData: true,
  exposed: 0,
  harmed: 0,
  harmBudget: 50,
  detected: false,
  recovered: false,
}

it('a silent candidate is detected by its missing data, and not by a model without traffic', () => {
  expect(judgeDrill({ ...silent, isIdle: false })).toMatchObject({ passed: true, detectedBy: 'no_data' })
  const reason =
    'no data at the deadline: no request yet in this stage, which began at 2026-11-20T10:00:00.000Z'
  expect(judgeDrill({ ...silent, reason, isIdle: true })).toEqual({
    passed: false,
    message: `inconclusive, the model got no traffic: ${reason}`,
  })
})

it('tells in how many requests a fault was not detected', () => {
  const facts: DrillFacts = { ...silent, kind: 'bad', reason: 'passed all stages', exposed: 4 }
  expect(judgeDrill(facts).message).toBe('the fault was not detected in 4 requests: passed all stages')
})

it('does not pass when a live replica has never acknowledged its rollback', () => {
  const failure = { code: 'error_rate', message: '9 of 20 canary requests failed' }
  const facts: DrillFacts = {
    ...silent,
    kind: 'bad',
    reason: failure.message,
    failure,
    exposed: 20,
    harmed: 9,
  }
  expect(judgeDrill(facts).passed).toBe(true)
  expect(
    judgeDrill({ ...facts, unacknowledged: ['replica r1 on h1 is still switching (generation 4 of 5)'] }),
  ).toEqual({
    passed: false,
    message: 'the rollback was not acknowledged: replica r1 on h1 is still switching (generation 4 of 5)',
  })
})

it('tells what was detected in the words of its release', () => {
  const failure = { code: 'guard', message: '9 of 20 shadow requests failed (45 %), limit 5 %' }
  const reason = '9 of 20 shadow requests invalid (45 %), control 0 %'
  const nan: DrillFacts = { ...silent, kind: 'nan', reason, failure, exposed: 20 }
  expect(judgeDrill(nan)).toEqual({ passed: true, message: reason, detectedBy: 'guard' })
})
